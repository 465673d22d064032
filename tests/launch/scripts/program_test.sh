#!/usr/bin/env bash
# program_test.sh MUMOE: the program as a user meets it. Bad input is one line and exit code 2 and writes nothing; a run
# that was stopped and resumed ends with the same bytes; a signal saves and stops.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export MUMOE_CACHE=$folder/cache OMP_NUM_THREADS=1
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

mkdir corpus empty
for ((i = 10; i < 32; i++)); do
  for ((j = 0; j < 12; j++)); do echo "Speech $i, line $j: we hold that $((i * j)) of these truths are plain."; done >corpus/$i.txt
done
cat >tiny.cfg <<'CONFIG'
[model]
depth = 1
heads = 2
width = 16
context = 16
experts = 6
rank = 5
[data]
source = corpus
[schedule]
steps = 12
warmup = 2
[train]
steps = 12
batch = 4
eval_windows = 4
CONFIG

# refused NAME TEXT COMMAND...: exit code 2, one line on stderr that holds TEXT, and no run directory.
refused() {
  local name=$1 text=$2 code=0
  shift 2
  rm -rf out
  timeout -k 5 60 "$@" >stdout 2>stderr </dev/null || code=$?
  [[ $code == 2 ]] || wrong "$name: exit code $code, expected 2: $(<stderr)"
  [[ $(wc -l <stderr) == 1 ]] || wrong "$name: expected one line, got: $(<stderr)"
  grep -qF -- "$text" stderr || wrong "$name: expected '$text' in: $(<stderr)"
  [[ ! -e out ]] || wrong "$name: wrote a run directory"
}
train=("$mumoe" train --config tiny.cfg --train.out out)
prepared() {  # prepared FOLDER: token files of the corpus, to be spoilt
  rm -rf "$1"
  "$mumoe" data --config tiny.cfg --out "$1" >/dev/null
}

refused "unknown key" "model.depth" "${train[@]}" --model.dept 2
refused "unknown key, two ranks" "model.depth" "$mpirun" -n 2 "${train[@]}" --model.dept 2
refused "wrong type" "train.steps = many: expected a whole number" "${train[@]}" --train.steps many
refused "no such configuration" "none.cfg" "$mumoe" train --config none.cfg --train.out out
refused "no such subcommand" "trian" "$mumoe" trian
refused "ranks do not divide the batch" "train.batch = 5: 2 data-parallel ranks" "$mpirun" -n 2 "${train[@]}" --train.batch 5
refused "needs two ranks" "parallel.dp = 2" "${train[@]}" --parallel.dp 2
refused "no such corpus" "nowhere" "${train[@]}" --data.source nowhere
refused "empty corpus" "empty" "${train[@]}" --data.source empty
prepared tokens
rm tokens/val.bin
refused "missing token file" "val.bin" "${train[@]}" --data.source tokens
prepared tokens
truncate -s -7 tokens/train.bin
refused "truncated token file" "tokens/train.bin" "${train[@]}" --data.source tokens
refused "truncated token file, two ranks" "tokens/train.bin" "$mpirun" -n 2 "${train[@]}" --data.source tokens
prepared tokens
printf '\xff\x01' | dd of=tokens/train.bin bs=1 seek=1100 conv=notrunc status=none
refused "token id beyond the vocabulary" "511" "${train[@]}" --data.source tokens
prepared tokens
truncate -s 1044 tokens/val.bin  # a header and ten tokens
printf '\x0a\x00\x00\x00' | dd of=tokens/val.bin bs=1 seek=8 conv=notrunc status=none
rm tokens/dataset.json
refused "too few validation tokens" "10 tokens with context 16" "${train[@]}" --data.source tokens
prepared tokens
printf 'x' | dd of=tokens/train.bin bs=1 seek=1100 conv=notrunc status=none
refused "another token file" "dataset.json" "${train[@]}" --data.source tokens
refused "unknown instruction set" "MUMOE_ISA=sse" env MUMOE_ISA=sse "${train[@]}"
refused "no such subcommand, two ranks" "trian" "$mpirun" -n 2 "$mumoe" trian
refused "vocabulary too small" "model.vocab = 100" "${train[@]}" --model.vocab 100
refused "context longer than the data" "context" "${train[@]}" --model.context 100000
touch in_the_way
refused "unwritable run directory" "in_the_way/run" "$mumoe" train --config tiny.cfg --train.out in_the_way/run
refused "nothing to resume" "holds no checkpoint" "${train[@]}" --train.resume
refused "nothing to sample from" "out" "$mumoe" sample --run out
refused "no rank by the authors" "model.rank = paper: cp block" "${train[@]}" --model.rank paper --model.experts 100
refused "too many experts to keep" "model.gate_top_k = 7: expected 1 to 6" "${train[@]}" --model.gate top_k --model.gate_top_k 7
refused "batch norm" "model.gate_norm = batch" "${train[@]}" --model.gate_norm batch
refused "unknown case" "--case gpt3: expected one of dense-gpt2, cp-gpt2" "$mumoe" bench layer --case gpt3
refused "no rounds" "--rounds 0: expected" "$mumoe" bench layer --rounds 0
refused "unknown precision" "--precision fp16: expected" "$mumoe" bench layer --precision fp16
refused "unknown benchmark" "bench: expected what to measure" "$mumoe" bench model
refused "tensor parallelism" "parallel.tp = 2" "$mpirun" -n 2 "${train[@]}" --parallel.tp 2

# The same bytes, whether stopped at step 7 or not, on two ranks.
quiet() { timeout -k 5 120 "$@" >stdout 2>stderr </dev/null || wrong "code $?: $*: $(<stderr)"; }
two=("$mpirun" -n 2 "$mumoe" train --config tiny.cfg)
quiet "${two[@]}" --train.out whole
quiet "${two[@]}" --train.out parts --train.steps 7
quiet "${two[@]}" --train.out parts --train.resume
state=checkpoints/step_00000012/state.safetensors
cmp whole/$state parts/$state || wrong "the resumed run ended with other bytes"
# Everything that does not depend on time is the same in the metrics.
cut -d , -f 1-5 whole/metrics.jsonl >whole.metrics
cut -d , -f 1-5 parts/metrics.jsonl >parts.metrics
cmp whole.metrics parts.metrics || wrong "the resumed run reports other numbers"
[[ $(wc -l <whole/metrics.jsonl) == 12 ]] || wrong "expected 12 steps in whole/metrics.jsonl"
[[ -s whole/provenance.json && -s whole/config.cfg ]] || wrong "whole/ lacks provenance.json or config.cfg"

before=$(cksum whole/config.cfg whole/metrics.jsonl)
gemm=$(sed -n 's/^gemm = //p' whole/config.cfg)
[[ $gemm == mkl || $gemm == onednn ]] || wrong "whole/config.cfg has gemm = $gemm"
other=mkl
[[ $gemm == onednn ]] || other=onednn
for change in "--train.gemm $other" "--train.mixing sparse" "--model.level_noise 0.1" \
  "--train.batch 8" "--model.rank 4" "--optimizer.lr 2e-3" "--train.seed 5" "--schedule.steps 20"; do
  # shellcheck disable=SC2086  # two words
  refused "resume with $change" "$(cut -c 3- <<<"${change%% *}")" \
    "$mumoe" train --config tiny.cfg --train.out whole --train.resume $change
done
refused "a second run in the same folder" "holds a run" "$mumoe" train --config tiny.cfg --train.out whole
[[ $(cksum whole/config.cfg whole/metrics.jsonl) == "$before" ]] || wrong "a refused run changed the folder"

# Every form of layer and gate takes a few steps; what is printed is what was run.
losses() { sed 's/.*"loss":\([^,]*\),.*/\1/' "$1/metrics.jsonl"; }
run() {  # run NAME OPTIONS...
  quiet "$mumoe" train --config tiny.cfg --train.steps 3 --train.precision fp32 --train.out "$@"
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
  [[ $code == 3 ]] || wrong "$name: exit code $code, expected 3: $(<stderr)"
  compgen -G "$name/checkpoints/step_*/state.safetensors" >/dev/null || wrong "$name: saved nothing"
  local steps
  steps=$(wc -l <"$name/metrics.jsonl")
  quiet "$@" --train.out "$name" --train.steps $((steps + 2)) --train.resume
  [[ $(wc -l <"$name/metrics.jsonl") == $((steps + 2)) ]] || wrong "$name: the resumed run lacks steps"
}
stopped_by TERM stopped_ranks "${two[@]}"
stopped_by INT stopped_alone "$mumoe" train --config tiny.cfg

((failures == 0)) || { echo "$failures failed"; exit 1; }
