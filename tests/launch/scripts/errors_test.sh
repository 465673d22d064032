#!/usr/bin/env bash
# errors_test.sh FAILING_TRAIN MUMOE: an error that one rank finds, or several, and memory that runs out, are one line of
# stderr and exit code 2, whatever the other ranks do at that time.
set -euo pipefail

failing=$(realpath "$1") mumoe=$(realpath "$2")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 8
warmup = 2
[train]
steps = 8
batch = 4
eval_windows = 4
gemm = mkl
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
common=(train --config tiny.cfg --data.source tokens)
options=("${common[@]}" --train.out run)

# one_line NAME LINE COMMAND...: exit code 2, and stderr is one line that matches LINE, an extended regular expression.
one_line() {
  local name=$1 line=$2 code=0
  shift 2
  rm -rf run
  timeout -k 5 60 "$@" >stdout 2>stderr </dev/null || code=$?
  echo "$name: code $code: $(<stderr)"
  [[ $code == 2 ]] || wrong "$name: exit code $code, expected 2"
  [[ $(wc -l <stderr) == 1 ]] || wrong "$name: expected one line"
  grep -Eqx -- "$line" stderr || wrong "$name: no line matches: $line"
}

# Rank 0 alone looks at the run directory; the other is in its first step by then.
touch in_the_way
for ranks in 2 4; do
  one_line "run directory, $ranks ranks" "mumoe: train.out = in_the_way/run: .*" \
    "$mpirun" -n $ranks "$mumoe" "${common[@]}" --train.out in_the_way/run
done
# In every phase, by rank 0 and by another, and while a collective is under way, also over sockets that break.
refuses() {  # refuses RANKS WHO WHERE N [ENVIRONMENT...]
  one_line "rank $2 of $1 in $3${5:+, $5}" "mumoe: $3: refused" \
    env "${@:5}" "$mpirun" -n "$1" "$failing" "$2" refuse "$3" "$4" "${options[@]}"
}
refuses 2 0 data 1
refuses 2 0 forward 2
refuses 2 1 backward 2
refuses 2 0 reduce_scatter 2
refuses 2 0 evaluation 1
refuses 2 0 checkpoint 1 OMPI_MCA_btl=self,tcp
refuses 4 2 update 1 OMPI_MCA_btl=self,tcp
refuses 4 all check 1
# The deadline passes while rank 1 waits for rank 0 to find the same.
one_line "a short deadline" "mumoe: forward: refused" \
  "$mpirun" -n 2 "$failing" 1 refuse forward 3 "${options[@]}" --parallel.deadline 1

# Memory: sizes that no machine has, and some beyond a limit that the test sets; a rank alone, and all of them.
memory() {  # memory NAME WHAT COMMAND...
  local name=$1 what=$2
  shift 2
  # Of every process, so that nothing fills the machine, whatever its kernel grants.
  (failures=0; ulimit -v 4000000; one_line "$name" "mumoe: $what" "$@"; ((failures == 0))) || failures=$((failures + 1))
}
asked='out of memory: [0-9.]+ ([KMGTP]iB|bytes) more were asked for'
needs="on .* will need about [0-9.]+ TiB, and [0-9.]+ [GT]iB is available; expected a smaller model, .*"
one_line "a huge rank" "mumoe: memory: 1 rank $needs" "$mumoe" "${options[@]}" --model.rank 99999999999
one_line "a huge rank, two ranks" "mumoe: memory: 2 ranks $needs" "$mpirun" -n 2 "$mumoe" "${options[@]}" --model.rank 99999999999
one_line "many experts" "mumoe: memory: 1 rank $needs" "$mumoe" "${options[@]}" --model.experts 99999999999
memory "more bytes than 64 bits count" "model.vocab = 1999999999999999999: expected at most 16777216" \
  "$mumoe" "${options[@]}" --model.vocab 1999999999999999999
memory "a micro-batch beyond all memory" \
  "train.micro_batch = 500000000: its tokens .* alone take [0-9.]+ GiB, and this machine has .*" \
  "$mumoe" "${options[@]}" --train.batch 1000000000 --train.micro_batch 500000000
step='phase [a-z]+, for the activations of a micro-batch of'
memory "activations" \
  "$asked in step 1, $step 40000 samples of 16 tokens; expected train.micro_batch below 40000, or train.recompute = yes" \
  "$mumoe" "${options[@]}" --train.batch 40000 --model.width 256
# What cannot fit is refused before anything is allocated: tokens and residual stream are half of what the machine has.
samples=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) * 512 / (17 * (8 + 4 * 256)) / 2 * 2))
one_line "more than there is" \
  "mumoe: memory: 1 rank on .* will need about [0-9.]+ [GT]iB, and [0-9.]+ [GT]iB is available; expected --train.micro_batch [0-9]+ --train.recompute (none|everything), which would fit" \
  "$mumoe" "${options[@]}" --train.batch $samples --train.micro_batch $samples --model.width 256
# Nor is anything measured, which takes products of the model's sizes: minutes, and memory.
began=$SECONDS
one_line "a model that is too large" \
  "mumoe: memory: 1 rank on .* will need about [0-9.]+ TiB, and [0-9.]+ [GT]iB is available; expected a smaller model, .*" \
  "$mumoe" "${options[@]}" --train.batch 2 --model.width 40000 --model.depth 96
((SECONDS - began < 20)) || wrong "a model that is too large: refused after $((SECONDS - began)) s"
one_line "one rank's activations" \
  "mumoe: out of memory: more was asked for than there is in step 2, $step 2 samples of 16 tokens; .*" \
  "$mpirun" -n 2 "$failing" 1 memory forward 2 "${options[@]}"

end
