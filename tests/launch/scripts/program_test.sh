#!/usr/bin/env bash
# program_test.sh MUMOE: the program as a user meets it. Bad input is one line and exit code 2 and writes nothing; a run
# that was stopped and resumed ends with the same bytes; a signal saves and stops.
set -euo pipefail

mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
mpirun=$root/launch/mpirun
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16

mkdir empty
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 12
warmup = 2
[train]
steps = 12
batch = 4
eval_windows = 4
CONFIG

# unwritten NAME TEXT COMMAND...: refused, and no run directory.
unwritten() {
  rm -rf out
  refused "$@"
  [[ ! -e out ]] || wrong "$1: wrote a run directory"
}
train=("$mumoe" train --config tiny.cfg --train.out out)
prepared() {  # prepared FOLDER: token files of the corpus, to be spoilt
  rm -rf "$1"
  "$mumoe" data --config tiny.cfg --out "$1" >/dev/null
}

unwritten "unknown key" "model.depth" "${train[@]}" --model.dept 2
unwritten "unknown key, two ranks" "model.depth" "$mpirun" -n 2 "${train[@]}" --model.dept 2
unwritten "wrong type" "train.steps = many: expected a whole number" "${train[@]}" --train.steps many
unwritten "no such configuration" "none.cfg" "$mumoe" train --config none.cfg --train.out out
unwritten "no such subcommand" "trian" "$mumoe" trian
unwritten "fewer samples than ranks" "train.batch = 1: expected at least 2" "$mpirun" -n 2 "${train[@]}" --train.batch 1
unwritten "needs two ranks" "parallel.dp = 2" "${train[@]}" --parallel.dp 2
unwritten "no such corpus" "nowhere" "${train[@]}" --data.source nowhere
unwritten "empty corpus" "empty" "${train[@]}" --data.source empty
prepared tokens
rm tokens/val.bin
unwritten "missing token file" "val.bin" "${train[@]}" --data.source tokens
prepared tokens
truncate -s -7 tokens/train.bin
unwritten "truncated token file" "tokens/train.bin" "${train[@]}" --data.source tokens
unwritten "truncated token file, two ranks" "tokens/train.bin" "$mpirun" -n 2 "${train[@]}" --data.source tokens
prepared tokens
printf '\xff\x01' | dd of=tokens/train.bin bs=1 seek=1100 conv=notrunc status=none
unwritten "token id beyond the vocabulary" "511" "${train[@]}" --data.source tokens
prepared tokens
truncate -s 1044 tokens/val.bin  # a header and ten tokens
printf '\x0a\x00\x00\x00' | dd of=tokens/val.bin bs=1 seek=8 conv=notrunc status=none
rm tokens/dataset.json
unwritten "too few validation tokens" "10 tokens with context 16" "${train[@]}" --data.source tokens
prepared tokens
printf 'x' | dd of=tokens/train.bin bs=1 seek=1100 conv=notrunc status=none
unwritten "another token file" "dataset.json" "${train[@]}" --data.source tokens
unwritten "unknown instruction set" "MUMOE_ISA=sse" env MUMOE_ISA=sse "${train[@]}"
unwritten "no such subcommand, two ranks" "trian" "$mpirun" -n 2 "$mumoe" trian
unwritten "vocabulary too small" "model.vocab = 100" "${train[@]}" --model.vocab 100
unwritten "context longer than the data" "context" "${train[@]}" --model.context 100000
touch in_the_way
unwritten "unwritable run directory" "in_the_way/run" "$mumoe" train --config tiny.cfg --train.out in_the_way/run
unwritten "nothing to resume" "holds no checkpoint" "${train[@]}" --train.resume
unwritten "nothing to sample from" "out" "$mumoe" sample --run out
unwritten "no rank by the authors" "model.rank = paper: cp block" "${train[@]}" --model.rank paper --model.experts 100
unwritten "too many experts to keep" "model.gate_top_k = 7: expected 1 to 6" "${train[@]}" --model.gate top_k --model.gate_top_k 7
unwritten "batch norm" "model.gate_norm = batch" "${train[@]}" --model.gate_norm batch
unwritten "unknown case" "--case gpt3: expected one of dense-gpt2, cp-gpt2" "$mumoe" bench layer --case gpt3
unwritten "no rounds" "--rounds 0: expected" "$mumoe" bench layer --rounds 0
unwritten "unknown device" "--device tpu: expected cpu or cuda" "$mumoe" bench layer --device tpu
unwritten "unknown precision" "--precision fp16: expected" "$mumoe" bench layer --precision fp16
unwritten "kernels of odd tokens" "--tokens 6: expected a multiple of 4" "$mumoe" bench kernels --tokens 6
unwritten "unknown benchmark" "bench: expected what to measure" "$mumoe" bench model
# What one process does is refused to several, or said once.
for alone in "sample --run out" "data --config tiny.cfg" "bench layer" "bench kernels"; do
  # shellcheck disable=SC2086  # words
  unwritten "$alone, two ranks" "2 ranks were started, each of which would do the whole work; expected one process" \
    "$mpirun" -n 2 "$mumoe" $alone
done
for once in help "help train" --version "sample --help"; do
  # shellcheck disable=SC2086  # words
  "$mumoe" $once >alone
  # shellcheck disable=SC2086  # words
  quiet "$mpirun" -n 2 "$mumoe" $once
  cmp -s stdout alone || wrong "$once, two ranks: $(<stdout)"
done
# Layouts are refused before anything is fetched: the corpus is not there.
nothing=("${train[@]}" --data.source nowhere)
unwritten "heads do not divide" "parallel.tp = 3: model.heads = 2 does not divide by it" \
  "$mpirun" -n 3 "${nothing[@]}" --parallel.tp 3
unwritten "tokens do not divide" "parallel.plan = sequence: cuts the tokens of a window, and model.context = 15" \
  "$mpirun" -n 2 "${nothing[@]}" --parallel.tp 2 --model.context 15
unwritten "a dense MLP has no rank" "parallel.plan = rank: a dense MLP has no rank; expected sequence or bottleneck" \
  "$mpirun" -n 2 "${nothing[@]}" --parallel.tp 2 --parallel.plan rank --model.mlp dense
unwritten "micro-batches do not divide" "train.micro_batch = 3" "$mpirun" -n 2 "${nothing[@]}" --train.micro_batch 3
# shellcheck disable=SC2016  # the inner shell expands it
unlike=("$mpirun" -n 2 bash -c
  'if [[ ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} == 1 ]]; then export MUMOE_ISA=portable OMP_NUM_THREADS=2; fi; exec "$@"' rank)
unwritten "unlike CPUs in a tp group" "parallel.plan = bottleneck: ranks of a tp group compute the same and must round alike" \
  "${unlike[@]}" "${nothing[@]}" --parallel.tp 2 --parallel.plan bottleneck

# The same bytes, whether stopped at step 7 or not, on two ranks. Every choice is named: runs of their own choose anew.
quiet() { timeout -k 5 120 "$@" >stdout 2>stderr </dev/null || wrong "code $?: $*: $(<stderr)"; }
two=("$mpirun" -n 2 "$mumoe" train --config tiny.cfg --train.precision fp32 --train.gemm mkl)
quiet "${two[@]}" --train.out whole
quiet "${two[@]}" --train.out parts --train.steps 7
quiet "${two[@]}" --train.out parts --train.resume
state=checkpoints/step_00000012
for file in rank_00000.safetensors rank_00001.safetensors; do
  cmp whole/$state/$file parts/$state/$file || wrong "the resumed run ended with other bytes in $file"
done
# Everything that does not depend on time is the same in the metrics.
cut -d , -f 1-5 whole/metrics.jsonl >whole.metrics
cut -d , -f 1-5 parts/metrics.jsonl >parts.metrics
cmp whole.metrics parts.metrics || wrong "the resumed run reports other numbers"
[[ $(wc -l <whole/metrics.jsonl) == 12 ]] || wrong "expected 12 steps in whole/metrics.jsonl"
[[ -s whole/provenance.json && -s whole/config.cfg ]] || wrong "whole/ lacks provenance.json or config.cfg"

# What is chosen automatically is settled, said with the figures it rests on, and taken over by a resumed run.
quiet "$mumoe" train --config tiny.cfg --train.out chosen --train.steps 2
gemm=$(sed -n 's/^gemm = //p' chosen/config.cfg) precision=$(sed -n 's/^precision = //p' chosen/config.cfg)
[[ $gemm == mkl || $gemm == onednn ]] || wrong "chosen/config.cfg has gemm = $gemm"
[[ $precision == bf16 || $precision == fp32 ]] || wrong "chosen/config.cfg has precision = $precision"
grep -qE "^         gemm auto: $gemm, ([0-9]+ GFLOP/s a rank in fp32, [0-9]+ by (mkl|onednn)|since LibTorch offers no other)" stdout || wrong "gemm: $(<stdout)"
grep -qE "^         precision auto: $precision, (at this model's products bf16 makes [0-9]+ GFLOP/s a rank, fp32 [0-9]+|since this CPU)" stdout ||
  wrong "precision: $(<stdout)"
quiet "$mumoe" train --config tiny.cfg --train.out chosen --train.steps 4 --train.resume
grep -q "^         precision auto: $precision, as the checkpoint has it$" stdout || wrong "precision, resumed: $(<stdout)"
grep -q "^         gemm auto: $gemm, as the checkpoint has it$" stdout || wrong "gemm, resumed: $(<stdout)"

before=$(cksum whole/config.cfg whole/metrics.jsonl)
for change in "--train.gemm onednn" "--train.precision bf16" "--train.mixing sparse" "--model.level_noise 0.1" \
  "--train.batch 8" "--model.rank 4" "--optimizer.lr 2e-3" "--train.seed 5" "--schedule.steps 20"; do
  # shellcheck disable=SC2086  # two words
  unwritten "resume with $change" "$(cut -c 3- <<<"${change%% *}")" \
    "$mumoe" train --config tiny.cfg --train.out whole --train.resume $change
done
unwritten "a second run in the same folder" "holds a run" "$mumoe" train --config tiny.cfg --train.out whole
[[ $(cksum whole/config.cfg whole/metrics.jsonl) == "$before" ]] || wrong "a refused run changed the folder"

# Every form of layer and gate takes a few steps; what is printed is what was run.
losses() { sed 's/.*"loss":\([^,]*\),.*/\1/' "$1/metrics.jsonl"; }
run() {  # run NAME OPTIONS...
  quiet "$mumoe" train --config tiny.cfg --train.steps 3 --train.precision fp32 --train.gemm mkl --train.out "$@"
  cp stdout "$1.log"
  [[ $(wc -l <"$1/metrics.jsonl") == 3 ]] || wrong "$1: expected 3 steps"
  grep -q '"active_share":[01]' "$1/metrics.jsonl" || wrong "$1: no active_share in $(head -n 1 "$1/metrics.jsonl")"
}
run tr --model.mlp tr --model.rank auto
run tt --model.mlp tt --model.rank 1,2,3
run tucker --model.mlp tucker --model.rank 4
run levels --model.experts 4,3 --model.level_noise 0.5
run softmax --model.gate softmax
run top_k --model.gate top_k --model.gate_top_k 2
quiet "$mumoe" train --config tr/config.cfg --train.steps 5 --train.resume
[[ $(wc -l <tr/metrics.jsonl) == 5 ]] || wrong "tr: expected 5 steps after going on"
run recomputed --model.gate softmax --train.recompute
[[ $(losses recomputed) == "$(losses softmax)" ]] || wrong "recomputed: $(losses recomputed), expected $(losses softmax)"
grep -q "tr mixtures of 6 experts, rank 4, 4, 2" tr.log || wrong "tr: $(<tr.log)"
grep -q "^rank = 4,4,2$" tr/config.cfg || wrong "tr: $(grep rank tr/config.cfg)"
grep -q "^rank = 6,4,4$" tucker/config.cfg || wrong "tucker: $(grep rank tucker/config.cfg)"
grep -qE "^compute .*, (portable|avx2|avx512|avx512_bf16), fp32 by (mkl|onednn)$" tr.log || wrong "compute: $(<tr.log)"
grep -q "^step 1: experts are mixed sparsely (33.3 % active)$" top_k.log || wrong "top_k: $(<top_k.log)"
if grep -q "mixed sparsely" softmax.log; then wrong "softmax: $(<softmax.log)"; fi
"$mumoe" train --config tr/config.cfg --print-config | sed 's/ *#.*//' >printed
diff printed tr/config.cfg || wrong "tr: what --print-config shows is not what was run"

quiet "$mumoe" bench layer --case entmax15 --precision fp32 --rounds 1
grep -q '^entmax15 ' stdout || wrong "bench layer: $(<stdout)"
quiet "$mumoe" help bench
grep -q -- '--rounds N' stdout || wrong "help bench: $(<stdout)"

# Every layout gives the run of one rank, to rounding: losses, gradient norms and final weights.
cat >agree.py <<'PYTHON'
import json, pathlib, sys
a, b, tolerance = sys.argv[1], sys.argv[2], float(sys.argv[3])
sys.path.insert(0, sys.argv[4])
import programs
def numbers(run):
    return [(m["step"], key, m[key]) for m in map(json.loads, open(run + "/metrics.jsonl"))
            for key in ("tokens", "loss", "grad_norm") + ("val_loss",) * (m["step"] == 12)]
def weights(run):
    return programs.tensors(pathlib.Path(run), 12, "")
pairs = list(zip(numbers(a), numbers(b), strict=True))
assert len(pairs) == 3 * 12 + 1, pairs
for x, y in pairs:
    assert x[:2] == y[:2] and abs(x[2] - y[2]) <= tolerance * abs(y[2]), (x, y)
x, y = weights(a), weights(b)
assert x.keys() == y.keys() and len(x) > 20, (x.keys(), y.keys())
for name in x:
    error = sum((p - q) ** 2 for p, q in zip(x[name], y[name], strict=True)) ** 0.5
    assert error <= 10 * tolerance * sum(q * q for q in y[name]) ** 0.5 + 1e-12, (name, error)
PYTHON
agree() { python3 agree.py "$@" "$root/launch/gpu" 2>stderr || wrong "$1 and $2 differ: $(tail -n 1 stderr)"; }
precision=fp64
layout() {  # layout NAME DP TP OPTIONS...
  quiet "$mpirun" -n $(($2 * $3)) "$mumoe" train --config tiny.cfg --train.precision $precision --train.gemm mkl \
    --train.out "$1" --parallel.dp "$2" --parallel.tp "$3" "${@:4}"
  cp stdout "$1.log"
}
layout one 1 1
layout tp_default 1 2
grep -q "^plan     sequence$" tp_default.log || wrong "tp_default: $(<tp_default.log)"
agree tp_default one 1e-10
for plan in bottleneck rank; do
  layout "tp_$plan" 1 2 --parallel.plan $plan
  grep -q "^plan     $plan$" "tp_$plan.log" || wrong "tp_$plan: $(<"tp_$plan.log")"
  agree "tp_$plan" one 1e-10
done
layout tp_auto 1 2 --parallel.plan auto
grep -qE "^plan     (sequence|bottleneck|rank) \(estimated ms a step: sequence [0-9.e+-]+, .*GFLOP/s a rank\)$" tp_auto.log ||
  wrong "tp_auto: $(<tp_auto.log)"
grep -qE "^plan = (sequence|bottleneck|rank)$" tp_auto/config.cfg || wrong "tp_auto: $(grep plan tp_auto/config.cfg)"
agree tp_auto one 1e-10
layout dense_one 1 1 --model.mlp dense
layout dense_tp 1 2 --model.mlp dense
agree dense_tp dense_one 1e-10
layout both 2 2
grep -q "^mesh     4 ranks = dp 2 x tp 2, on 1 host$" both.log || wrong "both: $(<both.log)"
agree both one 1e-10
layout whole_state 2 2 --parallel.zero 0
agree whole_state one 1e-10
if grep -q "^plan " one.log; then wrong "one rank has no plan: $(<one.log)"; fi

# Under sequence, ranks that round in their own ways keep the same bits of what is whole on both.
quiet "${unlike[@]}" "$mumoe" train --config tiny.cfg --parallel.tp 2 --parallel.check_replicas 1

# Ranks that were told, or have, something else are named before anything is written.
apart=(timeout -k 5 60 "$mpirun" -n 1 "$mumoe" train --config tiny.cfg --train.out apart)
unwritten "other options" "train.seed = 7 on rank 1 (host $(hostname)), 0 on rank 0" \
  "${apart[@]}" : -n 1 "$mumoe" train --config tiny.cfg --train.out apart --train.seed 7
mkdir -p other/corpus
for file in corpus/*; do tr a-z A-Z <"$file" >"other/$file"; done
unwritten "other files" "hash of train.bin = " \
  "${apart[@]}" : -n 1 bash -c 'cd other; exec "$0" train --config ../tiny.cfg --train.out apart' "$mumoe"
[[ ! -e apart ]] || wrong "ranks that differ wrote a run directory"

# What was saved in one layout goes on in another.
layout from_tp 1 2 --train.steps 7
layout from_tp 2 1 --train.resume
grep -q "^resumed after step 7 " from_tp.log || wrong "from_tp: $(<from_tp.log)"
agree from_tp one 1e-10
layout from_dp 2 1 --train.steps 7
layout from_dp 1 2 --train.resume --parallel.plan bottleneck
agree from_dp one 1e-10

# bf16 on the wire rounds gradients, and nothing before the first of them.
precision=fp32
layout wire_fp32 2 1
layout wire_bf16 2 1 --parallel.wire bf16
[[ $(losses wire_fp32 | head -n 1) == "$(losses wire_bf16 | head -n 1)" ]] || wrong "wire: $(losses wire_bf16)"
[[ $(losses wire_fp32) != "$(losses wire_bf16)" ]] || wrong "parallel.wire bf16 changes nothing"
agree wire_bf16 wire_fp32 1e-2
bytes() { sed 's/.*"dp_bytes":\([^,]*\),.*/\1/' "$1/metrics.jsonl" | head -n 1; }
(($(bytes wire_bf16) < $(bytes wire_fp32))) || wrong "wire: $(bytes wire_bf16) bytes, $(bytes wire_fp32) in fp32"

# Numbers that are not finite stop all ranks, with one line and exit code 4.
code=0
timeout -k 5 60 "${two[@]}" --train.out diverged --optimizer.lr 1e30 --optimizer.clip 0 --schedule.warmup 0 >stdout 2>stderr </dev/null || code=$?
[[ $code == 4 ]] || wrong "diverged: exit code $code, expected 4"
[[ $(wc -l <stderr) == 1 ]] || wrong "diverged: expected one line, got: $(<stderr)"
grep -q 'stopped before the weights changed' stderr || wrong "diverged: got $(<stderr)"

# A sample is a function of its seed.
quiet "$mumoe" sample --run whole --prompt "Speech" --tokens 40 --seed 3
cp stdout first
quiet "$mumoe" sample --run whole --prompt "Speech" --tokens 40 --seed 3
cmp -s stdout first || wrong "the same seed gave another sample"
grep -q '^Speech' stdout || wrong "the sample does not begin with its prompt"
# Several prompts, one text after the other, each as if alone.
printf 'Speech\n\nthese truths' >prompts
quiet "$mumoe" sample --run whole --prompt "Speech" --prompt "we hold" --file prompts --tokens 40 --seed 3
cp stdout several
quiet "$mumoe" sample --run whole --prompt "we hold" --tokens 40 --seed 3
cp stdout second
quiet "$mumoe" sample --run whole --prompt "these truths" --tokens 40 --seed 3
{ cat first; echo ---; cat second; echo ---; cat first; echo ---; cat stdout; } | cmp -s - several ||
  wrong "several prompts: $(<several)"
# Of a prompt beyond the context, 16 tokens, only the end is seen, with a note.
quiet "$mumoe" sample --run whole --prompt "Speech 11, line 3: we hold" --tokens 40 --seed 3 --top-p 0.9
grep -q '^mumoe sample: a prompt of 26 tokens: the model sees its last 16' stderr || wrong "long prompt: $(<stderr)"
(($(wc -c <stdout) > 40)) || wrong "long prompt: $(<stdout)"
echo >blank
refused "a file without prompts" "--file blank: no line that is not empty" "$mumoe" sample --run whole --file blank
refused "top-p" "--top-p 0: expected more than 0, at most 1" "$mumoe" sample --run whole --top-p 0
# A signal ends a text at once, with its line.
"$mumoe" sample --run whole --prompt "Speech" --tokens 100000000 --temperature 0 >stdout 2>stderr </dev/null &
child=$!
for ((i = 0; i < 300; i++)); do [[ ! -s stdout ]] || break; sleep 0.1; done
sleep 0.3
kill -INT "$child"
code=0
wait "$child" || code=$?
[[ $code == 3 && ! -s stderr ]] || wrong "interrupted sample: code $code: $(<stderr)"
[[ $(tail -c 1 stdout) == '' ]] || wrong "interrupted sample: no end of the line"
# Nor does it go on for a reader who is gone.
timeout -k 5 60 "$mumoe" sample --run whole --tokens 100000000 --temperature 0 2>stderr </dev/null | head -c 20 >stdout ||
  wrong "a reader who left: $(<stderr)"

# A signal saves and stops, with exit code 3, and the run goes on from there.
stopped_by() {  # stopped_by SIGNAL NAME COMMAND...
  local signal=$1 name=$2 code=0 child
  shift 2
  timeout -k 5 120 "$@" --train.out "$name" --train.steps 1000000 >stdout 2>stderr </dev/null &
  child=$!
  for ((i = 0; i < 600; i++)); do
    if [[ -s $name/metrics.jsonl ]]; then break; fi
    sleep 0.1
  done
  kill -"$signal" "$child"
  wait "$child" || code=$?
  cp stdout stopped.log
  [[ $code == 3 ]] || wrong "$name: exit code $code, expected 3: $(<stderr)"
  compgen -G "$name/checkpoints/step_*/manifest.json" >/dev/null || wrong "$name: saved nothing"
  local steps
  steps=$(wc -l <"$name/metrics.jsonl")
  quiet "$@" --train.out "$name" --train.steps $((steps + 2)) --train.resume
  [[ $(wc -l <"$name/metrics.jsonl") == $((steps + 2)) ]] || wrong "$name: the resumed run lacks steps"
}
stopped_by TERM stopped_ranks "${two[@]}"
grep -q "saved: --train.resume goes on$" stopped.log || wrong "stopped_ranks: $(<stopped.log)"
stopped_by INT stopped_alone "$mumoe" train --config tiny.cfg
# Where nothing is to be kept nothing is saved, and nothing else is claimed.
timeout -k 5 60 "$mumoe" train --config tiny.cfg --train.out none --train.steps 1000000 --log.every 1 >stdout 2>stderr </dev/null &
child=$!
for ((i = 0; i < 300; i++)); do if grep -q '^step' stdout; then break; fi; sleep 0.1; done
code=0
kill -TERM "$child"
wait "$child" || code=$?
[[ $code == 3 ]] || wrong "stopped without a folder: exit code $code, expected 3: $(<stderr)"
grep -qE "^stopped by a signal after step [0-9]+; train.out = none: nothing was saved$" stdout ||
  wrong "stopped without a folder: $(tail -n 1 stdout)"

end
