#!/usr/bin/env bash
# stop_test.sh FAILING_TRAIN MUMOE: a request to stop, wherever it comes: code 3, what was trained is saved, and the resumed
# run does what is left. What rank 0 says is in log.txt, whoever reads it.
set -euo pipefail

failing=$(realpath "$1") mumoe=$(realpath "$2")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 6
warmup = 2
[train]
steps = 6
batch = 16
micro_batch = 2
eval_every = 3
eval_windows = 16
precision = fp32
gemm = mkl
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
train=(train --config tiny.cfg --data.source tokens --train.out run)
early="stopped by a signal before the first step: nothing was written"

# stopped NAME COMMAND...: code 3, and nothing on stderr.
stopped() {
  local code=0
  timeout -k 5 60 "${@:2}" >stdout 2>stderr </dev/null || code=$?
  [[ $code == 3 ]] || wrong "$1: exit code $code, expected 3: $(<stderr)"
  [[ ! -s stderr ]] || wrong "$1: $(<stderr)"
}

# Before the first step, from the moment that signals are taken on.
caught() { (((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null || echo 0) >> 14) & 1)); }
for signal in TERM USR1 HUP; do
  "$mumoe" "${train[@]}" >stdout 2>stderr </dev/null &
  child=$! code=0
  for ((i = 0; i < 2000; i++)); do if caught "$child"; then break; fi; sleep 0.005; done
  kill -"$signal" "$child"
  wait "$child" || code=$?
  [[ $code == 3 && $(<stdout) == "$early" && ! -s stderr ]] || wrong "SIG$signal at once: $code, $(<stdout) $(<stderr)"
  [[ ! -e run ]] || wrong "SIG$signal at once: wrote $(ls run)"
done
# One rank is asked, by either signal: all end, one says so.
for where in "0 term start" "1 term data" "1 ask data" "all ask start"; do
  # shellcheck disable=SC2086  # words
  stopped "$where" "$mpirun" -n 2 "$failing" $where 1 "${train[@]}"
  [[ $(grep -v '^pid ' stdout) == "$early" ]] || wrong "$where: $(<stdout)"
  [[ ! -e run ]] || wrong "$where: wrote $(ls run)"
done

# In a step of four micro-batches, in an evaluation on the way and in the last one; the resumed run ends with the same
# numbers and bytes as one that was not stopped.
numbers() { grep -oE '"(step|loss|grad_norm|val_loss)":[^,}]*' run/metrics.jsonl; }
quiet "$mpirun" -n 2 "$mumoe" "${train[@]}"
numbers >whole
weights=run/checkpoints/step_00000006
cp -r $weights whole.weights
grep -v '^pid ' stdout | cmp -s - run/log.txt || wrong "log.txt is not what was said: $(diff stdout run/log.txt)"
# stops_in NAME STEP LINE PHASE N: with STEP saved, and LINE said last.
stops_in() {
  rm -rf run
  stopped "$1" "$mpirun" -n 2 "$failing" 1 ask "$4" "$5" "${train[@]}"
  [[ $(tail -n 1 stdout) == "stopped by a signal $3" ]] || wrong "$1: $(tail -n 1 stdout)"
  [[ $(ls -I latest run/checkpoints 2>/dev/null || true) == "${2:+step_0000000$2}" ]] || wrong "$1: saved $(ls run/checkpoints)"
  quiet "$mpirun" -n 2 "$mumoe" "${train[@]}" ${2:+--train.resume}
  numbers | cmp -s - whole || wrong "$1: other numbers: $(numbers | diff - whole)"
  cmp -s $weights/rank_00001.safetensors whole.weights/rank_00001.safetensors || wrong "$1: other weights"
  [[ $(grep -c '^stopped by' run/log.txt) == 1 && $(tail -n 1 run/log.txt) == done:* ]] || wrong "$1: log.txt: $(<run/log.txt)"
}
goes_on="run directory run, saved: --train.resume goes on"
stops_in "the first step" "" "in the first step; run directory run, there was nothing to save" forward 1
stops_in "a step" 2 "after step 2; $goes_on" forward 9
stops_in "an evaluation" 3 "after step 3; $goes_on" evaluation 2
stops_in "the last evaluation" 6 "after step 6; run directory run, saved: --train.resume makes the evaluation that is left" evaluation 7
grep -q "no step is left" stdout || wrong "the last evaluation: $(<stdout)"

# Without its reader a run goes on to its end.
for start in "" "$mpirun -n 2"; do
  rm -rf run
  # shellcheck disable=SC2086  # words
  timeout -k 5 60 $start "$mumoe" "${train[@]}" --log.every 1 2>stderr </dev/null | head -n 1 >/dev/null || wrong "unread: code ${PIPESTATUS[0]}"
  [[ ! -s stderr && $(tail -n 1 run/log.txt) == "done: 6 steps"* ]] || wrong "unread: $(<stderr) $(tail -n 1 run/log.txt)"
  [[ -e $weights ]] || wrong "unread: not saved"
done
# An error is in log.txt as well; a run that ended before its first checkpoint is set aside with it.
rm -rf run
timeout -k 5 60 "$mpirun" -n 2 "$failing" 0 refuse forward 2 "${train[@]}" >stdout 2>stderr </dev/null || true
[[ $(tail -n 1 run/log.txt) == "mumoe: forward: refused" ]] || wrong "an error: $(<run/log.txt)"
echo '{"step":1}' >run/metrics.jsonl
quiet "$mumoe" "${train[@]}"
[[ $(tail -n 1 run/log.1.txt) == "mumoe: forward: refused" && $(tail -n 1 run/log.txt) == done:* ]] || wrong "set aside: $(ls run)"

end
