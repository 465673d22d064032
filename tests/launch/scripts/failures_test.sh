#!/usr/bin/env bash
# failures_test.sh FAILING_TRAIN MUMOE: training runs of two ranks of which one dies, stops or computes for ever, in every
# phase. Each job must end in time, with its exit code and a line that says what happened, and leave no process. Most of
# that is waiting for deadlines: three jobs run at a time.
set -euo pipefail

failing=$(realpath "$1") mumoe=$(realpath "$2")
launch=$(realpath "$(dirname "$0")/../../../launch")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
wrong() { echo "FAILED: $*"; }
cases=0
# at_once COMMAND...: runs it in a folder of its own, as soon as fewer than three others run. ./log has what it says.
at_once() {
  local mine
  while (($(jobs -rp | wc -l) >= 3)); do sleep 0.1; done
  cases=$((cases + 1))
  mine=$(printf 'case%02d' $cases)
  mkdir "$mine"
  (cd "$mine"; "$@"; echo ended) >"$mine/log" 2>&1 </dev/null &
}

cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 8
warmup = 2
[parallel]
deadline = 3
[train]
steps = 8
batch = 4
eval_every = 4
eval_windows = 4
gemm = mkl
[checkpoint]
every = 4
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null

pids() { sed -n 's/^pid //p' out | paste -sd ' '; }
lives() {  # lives PID; one that has ended and waits for its parent is Z
  [[ $(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) == [^ZX]* ]]
}
no_process_left() {  # of those that ./out names, a moment after the job's end
  local pid i
  [[ $(grep -c '^pid ' out) == 2 ]] || wrong "$1: expected two ranks: $(<out)"
  for pid in $(pids); do
    for ((i = 0; i < 30; i++)); do lives "$pid" || continue 2; sleep 0.1; done
    wrong "$1: process $pid is still there: $(sed -n 's/^State://p' "/proc/$pid/status")"
    kill -9 "$pid" || true
  done
}
train=(train --config "$folder/tiny.cfg" --data.source "$folder/tokens" --train.out run)
# fails NAME CODE SECONDS TEXT... -- RANK HOW WHERE N [OPTIONS]: the job ends with CODE within SECONDS, and each TEXT (an
# extended regular expression) matches a line of its stderr.
fails() { at_once failing "$@"; }
failing() {
  local name=$1 code=$2 seconds=$3 got=0 begin=${EPOCHREALTIME/./} took texts=()
  shift 3
  while [[ $1 != -- ]]; do texts+=("$1"); shift; done
  local how=("${@:2:4}") options=("${@:6}")
  timeout -k 5 90 "$launch/mpirun" -n 2 "$failing" "${how[@]}" "${train[@]}" "${options[@]}" >out 2>err </dev/null || got=$?
  took=$(((${EPOCHREALTIME/./} - begin) / 1000))
  echo "$name: code $got after $took ms"
  sed 's/^/  /' err
  ((took < 1000 * seconds)) || wrong "$name: ended after $took ms, expected within $seconds s"
  [[ $got == "$code" ]] || wrong "$name: exit code $got, expected $code"
  local text
  for text in "${texts[@]}"; do grep -Eq -- "$text" err || wrong "$name: no line matches: $text"; done
  no_process_left "$name"
}

# What survives tells who died, and where it was itself; mpirun ends it.
gone() {  # gone SURVIVOR DEAD
  echo "^mumoe: rank $1 of 2 \(dp $1/2 tp 0/1\): rank $2 is gone: its process [0-9]+ on this host has ended; phase [a-z]+ for "
}
signal='^launch/mpirun: a rank was killed by signal 9 \(SIGKILL\)$'
fails "killed in forward" 137 20 "$(gone 0 1)" "$signal" -- 1 kill forward 3
fails "killed in backward" 137 20 "$(gone 0 1)" "$signal" -- 1 kill backward 3
fails "killed in an all-reduce" 137 20 "$(gone 0 1)" "$signal" -- 1 kill all_reduce 3 --parallel.zero 0
fails "killed in a reduce-scatter" 137 20 "$(gone 0 1)" "$signal" -- 1 kill reduce_scatter 3
fails "killed in a checkpoint" 137 20 "$(gone 1 0)" "$signal" -- 0 kill checkpoint 1

# Of several that miss the same one the lowest speaks, for all.
many() {
  local code=0
  timeout -k 5 60 "$launch/mpirun" -n 4 "$failing" 0 kill "$1" 3 "${train[@]}" >out 2>err </dev/null || code=$?
  echo "killed in $1, four ranks: code $code"
  [[ $code == 137 ]] || wrong "four ranks: exit code $code, expected 137"
  [[ $(wc -l <err) == 2 ]] || wrong "four ranks: expected two lines, got: $(<err)"
  head -n 1 err | grep -Eq "^mumoe: rank 1 of 4 .*: rank 0 is gone: its process [0-9]+ on this host has ended, and 2 other ranks end with it; phase " ||
    wrong "four ranks: $(<err)"
  tail -n 1 err | grep -Eq "$signal" || wrong "four ranks: $(<err)"
}
at_once many forward
OMPI_MCA_btl=self,tcp at_once many backward

# Every rank that can print tells its phase and last collective; the others end the job, with their own code.
stuck() {  # stuck RANK PHASE [STEP] DEADLINE: the start of its line
  echo "^mumoe: rank $1 of 2 \(dp $1/2 tp 0/1\): phase $2 for [0-9.]+ s${3:+, its $3 for [0-9.]+ s}, deadline $4 s; "
}
last='last collective [a-z_]+ #[0-9]+ (of [0-9.]+ (bytes|KiB|MiB) )?on axis [a-z]+, begun [0-9.]+ s ago, '
stopped='; rank 1 is stopped: its process [0-9]+ on this host waits for SIGCONT$'
fails "stopped in forward" 5 25 "$(stuck 0 '(forward|backward|check)' step 3)$last.*$stopped" -- 1 stop forward 3
fails "stopped in backward" 5 25 "$(stuck 0 '(forward|backward|check)' step 3)$last.*$stopped" -- 1 stop backward 3
fails "stopped in its first step" 5 30 "$(stuck 0 '(forward|backward|check)' 'first step' 6)$last.*$stopped" -- 1 stop load 1
fails "stopped in an all-reduce" 5 25 "$(stuck 0 '(forward|backward|check)' step 3).*$stopped" -- 1 stop all_reduce 8 --parallel.zero 0
fails "computes for ever in forward" 5 25 "$(stuck 0 '(forward|backward|check)' step 3)${last}not ended" \
  "$(stuck 1 forward step 3)${last}ended" -- 1 loop forward 3
fails "computes for ever in backward" 5 25 "$(stuck 1 backward step 3)$last" -- 1 loop backward 3
fails "computes for ever in an evaluation" 5 25 "$(stuck 0 evaluation '' 3)${last}not ended" \
  "$(stuck 1 evaluation '' 3)${last}ended" -- 1 loop evaluation 2
fails "rank 0 computes for ever in a checkpoint" 5 25 "$(stuck 0 checkpoint '' 3)${last}ended" \
  "$(stuck 1 checkpoint '' 3)${last}not ended" -- 0 loop checkpoint 1
fails "stopped at the start" 5 30 "$(stuck 0 start '' 6)$last.*$stopped" -- 1 stop start 1
fails "stopped in forward, collectives compared" 5 25 "$(stuck 0 '(forward|backward)' step 3)$last.*$stopped" -- 1 stop forward 3 --parallel.check_collectives true

fails "stopped in forward, tp" 5 25 \
  "^mumoe: rank 0 of 2 \(dp 0/1 tp 0/2\): phase (load|forward) for .* on axis (tp|all), begun .*$stopped" \
  -- 1 stop forward 3 --parallel.tp 2

# A benchmark has the same deadline, for each size.
benched() {
  local got=0
  timeout -k 5 60 "$launch/mpirun" -n 2 "$failing" 1 loop bench 2 bench comm --sizes 1K:16K:4 --rounds 2 \
    --parallel.deadline 3 >out 2>err </dev/null || got=$?
  echo "computes for ever in bench comm: code $got"
  sed 's/^/  /' err
  [[ $got == 5 ]] || wrong "bench comm: exit code $got, expected 5: $(<out) $(<err)"
  grep -Eq "^mumoe: rank 0 of 2 \(dp 0/2 tp 0/1\): phase bench for [0-9.]+ s, deadline 3 s; ${last}not ended" err ||
    wrong "bench comm: no line: $(<err)"
  no_process_left "bench comm"
}
at_once benched

# A request to stop that comes before the first step ends the run, which has nothing to save.
asked() {
  failing "asked to stop before the first step" 3 30 -- 1 ask data 1
  grep -qx "stopped by a signal before the first step: nothing was written" out || wrong "no line: $(<out)"
  [[ ! -e run ]] || wrong "a run that was stopped before its first step: wrote $(ls run)"
}
at_once asked

# A run that agrees with itself is not disturbed by comparing.
undisturbed() {
  failing "nothing, collectives compared" 0 60 -- 1 none forward 1 --parallel.check_collectives true
  [[ ! -s err ]] || wrong "a sound run printed: $(<err)"
}
at_once undisturbed

# A job that is stopped as a whole for longer than its deadline goes on when it may.
goes_on() {
  local job i pid stopped got=0
  timeout -k 5 90 "$launch/mpirun" -n 2 "$failing" all stop forward 3 "${train[@]}" >out 2>err </dev/null &
  job=$!
  for ((i = 0; i < 300; i++)); do
    stopped=0
    for pid in $(pids); do
      if grep -q '^State:[[:space:]]*T' "/proc/$pid/status" 2>/dev/null; then stopped=$((stopped + 1)); fi
    done
    ((stopped < 2)) || break
    sleep 0.1
  done
  ((stopped == 2)) || wrong "the ranks did not stop: $(<out)"
  sleep 7
  for pid in $(pids); do kill -CONT "$pid"; done
  wait "$job" || got=$?
  echo "stopped as a whole: code $got"
  [[ $got == 0 ]] || wrong "a job that was stopped and goes on: exit code $got, expected 0: $(<err)"
  [[ $(wc -l <run/metrics.jsonl) == 8 ]] || wrong "a job that was stopped and goes on: expected 8 steps"
}
at_once goes_on

# launch/run makes one code and one line of what happened, whoever ended the job.
mkdir -p clone/launch clone/build/release
ln -s "$launch"/{run,mpirun,unforeseen.sh,job.sh} clone/launch/
printf '#!/bin/sh\n' | tee clone/launch/setup >clone/launch/build
chmod +x clone/launch/setup clone/launch/build
cat >clone/build/release/mumoe <<PROGRAM
#!/usr/bin/env bash
if [[ \$1 == train ]]; then exec "$failing" 1 \$HOW "\$@"; else exec "$mumoe" "\$@"; fi
PROGRAM
chmod +x clone/build/release/mumoe
# launch/run goes to the folder above its own, whatever a link points to.
runs() {  # runs NAME CODE TEXT HOW
  local got=0
  HOW=$4 timeout -k 5 90 "$folder/clone/launch/run" --no-sample "${train[@]:1:4}" --train.out "$PWD/run" >out 2>err </dev/null || got=$?
  echo "launch/run, $1: code $got: $(tail -n 1 out)"
  [[ $got == "$2" ]] || wrong "launch/run, $1: exit code $got, expected $2: $(<out) $(<err)"
  [[ $(tail -n 1 out) =~ $3 ]] || wrong "launch/run, $1: expected $3, got: $(tail -n 1 out)"
  no_process_left "launch/run, $1"
}
at_once runs killed 5 '^launch/run: training: a rank was killed by signal 9 \(SIGKILL\) \(exit 5\)$' "kill backward 3"
at_once runs stopped 5 '^launch/run: training: communication failure \(exit 5\)$' "stop backward 3"

wait
cat case*/log
failures=$(cat case*/log | grep -c '^FAILED' || true)
ended=$(cat case*/log | grep -cx 'ended' || true)
((failures == 0 && ended == cases)) || { echo "$failures failed, $ended of $cases ended"; exit 1; }
echo "all passed"
