#!/usr/bin/env bash
# signals_test.sh FAILING_TRAIN MUMOE: a signal to one rank of four, wherever it is, or to mpirun: code 3, what was trained
# is saved, and the resumed run has the losses of one that nobody stopped, bit for bit. A second signal ends at once, and
# the run's own time (--train.max_minutes) is as a signal.
set -euo pipefail

failing=$(realpath "$1") mumoe=$(realpath "$2")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 6
warmup = 2
[parallel]
tp = 2
[train]
steps = 6
batch = 8
micro_batch = 2
eval_every = 3
eval_windows = 16
precision = fp32
gemm = mkl
[checkpoint]
every = 2
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
train=(train --config tiny.cfg --data.source tokens --train.out run)
numbers() { grep -oE '"(step|loss|grad_norm|val_loss)":[^,}]*' run/metrics.jsonl; }
newest() { find run/checkpoints -maxdepth 1 -name 'step_????????' 2>/dev/null | sort | tail -n 1 | sed 's/.*step_0*//'; }
await() {  # await SECONDS WHAT COMMAND...
  local i what=$2
  for ((i = 0; i < 20 * $1; i++)); do if "${@:3}"; then return 0; fi; sleep 0.05; done
  wrong "no $what in $1 s: $(<stdout) $(<stderr)"
}
# ends NAME CODE: of $job, which has said nothing on stderr.
ends() {
  local code=0
  wait "$job" || code=$?
  [[ $code == "$2" ]] || wrong "$1: code $code, expected $2: $(<stdout) $(<stderr)"
  [[ ! -s stderr ]] || wrong "$1: $(<stderr)"
}
launched() {  # launched COMMAND...: in the background, as $job
  rm -rf run
  timeout -k 5 60 "$@" >stdout 2>stderr </dev/null &
  job=$!
}
# resumes NAME [STEP [OPTION...]]: what was said and saved, of STEP where it is known; and it goes on.
resumes() {
  local said
  said=$(tail -n 1 stdout)
  [[ $said =~ ^stopped\ by\ a\ signal\ after\ step\ ([0-9]+)\; ]] || { wrong "$1: $said"; return; }
  [[ ${BASH_REMATCH[1]} == "${2:-${BASH_REMATCH[1]}}" ]] || wrong "$1: expected step $2: $said"
  [[ $(newest) == "${BASH_REMATCH[1]}" ]] || wrong "$1: $said; saved: $(ls run/checkpoints)"
  quiet "$mpirun" -n 4 "$mumoe" "${train[@]}" --train.resume "${@:3}"
  numbers | cmp -s - whole || wrong "$1: other numbers: $(numbers | diff - whole)"
}

uninterrupted() {  # uninterrupted [OPTION...]: its numbers are those to come to
  rm -rf run
  quiet "$mpirun" -n 4 "$mumoe" "${train[@]}" "$@"
  numbers >whole
  [[ $(wc -l <whole) == 20 ]] || wrong "expected six steps and two evaluations: $(<whole)"
}

# asked NAME STEP RANK SIGNAL WHERE N [OPTION...]: rank RANK gets it where it is for the Nth time.
asked() {
  launched "$mpirun" -n 4 "$failing" "${@:3:4}" "${train[@]}" "${@:7}"
  ends "$1" 3
  resumes "$1" "$2" "${@:7}"
}
uninterrupted --parallel.zero 0
asked "SIGTERM in an all-reduce" "" 1 term all_reduce 4 --parallel.zero 0
uninterrupted
asked "SIGTERM in forward" 1 3 term forward 3
asked "SIGTERM in a reduce-scatter" "" 2 term reduce_scatter 4
asked "SIGTERM in a gather of the tp axis" "" 0 term "tp all_gather" 40
asked "SIGUSR1 in an evaluation" 3 1 ask evaluation 3
asked "SIGTERM in a save" 4 3 term checkpoint 2

# At any instant: to mpirun, and when the run's time is over. The run beside it is of as many steps, none of them stopped.
# random NAME SAID COMMAND...: stops $job by COMMAND; the last line begins with SAID.
endless=("$mpirun" -n 4 "$mumoe" "${train[@]}" --train.steps 1000000 --schedule.steps 6)
random() {
  local last steps
  launched "${endless[@]}" "${options[@]}"
  await 30 "step" test -s run/metrics.jsonl
  "${@:3}"
  ends "$1" 3
  last=$(tail -n 1 stdout)
  steps=$(newest)
  [[ $last == "$2 after step $steps; run directory run, saved: --train.resume goes on" ]] || wrong "$1: $last, saved: $steps"
  steps=(--train.steps $((steps + 2)) --schedule.steps 6)
  quiet "$mpirun" -n 4 "$mumoe" "${train[@]}" "${steps[@]}" --train.resume
  numbers >resumed
  rm -rf run
  quiet "$mpirun" -n 4 "$mumoe" "${train[@]}" "${steps[@]}"
  numbers | cmp -s - resumed || wrong "$1: other numbers: $(numbers | diff - resumed)"
}
hit_mpirun() { sleep "0.$((RANDOM % 10))"; kill -TERM "$job"; }
options=()
random "SIGTERM to mpirun" "stopped by a signal" hit_mpirun
options=(--train.max_minutes 0.06)
began=${EPOCHREALTIME/./}
took() { took=$(((${EPOCHREALTIME/./} - began) / 1000)); }
until_over() { await 30 end bash -c "! kill -0 $job 2>/dev/null"; took; }
random "train.max_minutes" "stopped after train.max_minutes = 0.06," until_over
((took > 3000 && took < 6000)) || wrong "train.max_minutes = 0.06: ended after $took ms"
launched "${endless[@]}" --train.max_minutes 0.001
ends "no time for a step" 3
[[ $(<stdout) == "stopped after train.max_minutes = 0.001, before the first step: nothing was written" && ! -e run ]] ||
  wrong "no time for a step: $(<stdout)"

# ---- A second signal, to a rank of a run that cannot stop: it is over at once.
pid_of() { sed -n "s/^pid //p" stdout | sed -n "$1p"; }
two_steps() { [[ -e run/metrics.jsonl && $(wc -l <run/metrics.jsonl) == 2 ]]; }
hang() {  # rank 0 computes for ever in its third step
  launched "$mpirun" -n 4 "$failing" 0 loop forward 5 "${train[@]}"
  await 30 "two steps" two_steps
  sleep 0.5
}
at_once="stopped at once by a second signal: what was saved before is there"
hang
kill -USR1 "$(pid_of 3)"
kill -TERM "$(pid_of 3)"  # an echo
sleep 2.2
kill -0 "$job" 2>/dev/null || wrong "an echo ended the run: $(<stdout)"
kill -TERM "$(pid_of 3)"
took=$(timeout 20 bash -c "SECONDS=0; while kill -0 $job 2>/dev/null; do sleep 0.1; done; echo \$SECONDS") || wrong "a second signal ended nothing"
((${took:-99} < 8)) || wrong "a second signal: it took $took s"
ends "a second signal" 3
[[ $(grep -c "^stopped" stdout) == 1 && $(tail -n 1 stdout) == "$at_once" ]] || wrong "a second signal: $(<stdout)"
[[ $(newest) == 2 ]] || wrong "a second signal: saved $(newest)"
hang
launcher=$(pgrep -P "$job")  # below timeout, which would kill it after a signal
kill -TERM "$launcher"
sleep 2.2
kill -TERM "$launcher"
code=0; wait "$job" || code=$?
[[ $code == 3 ]] || wrong "a second signal to mpirun: code $code, expected 3: $(<stdout) $(<stderr)"
grep -q "^launch/mpirun: ended at once by a second signal$" stderr || wrong "a second signal to mpirun: $(<stderr)"
# mpirun sends SIGTERM to the others when a rank dies: that is no second signal, nor a first one.
failed() {  # failed NAME: the job ends as a rank was killed
  local code=0
  wait "$job" || code=$?
  [[ $code == 137 ]] || wrong "$1: code $code, expected 137: $(<stdout) $(<stderr)"
  if grep -q "^stopped" stdout; then wrong "$1: $(<stdout)"; fi
  grep -qE "^mumoe: rank [0-3] of 4.*: rank [0-9] is gone: its process [0-9]+ on this host has ended" stderr || wrong "$1: $(<stderr)"
}
hang
kill -USR1 "$(pid_of 3)"
sleep 2.2
kill -KILL "$(pid_of 2)"
failed "a rank is killed after a signal"
launched "$mpirun" -n 4 "$failing" 2 kill data 1 "${train[@]}"
failed "a rank is killed before the first step"

# ---- Programs of one process, while they prepare
quiet "$mumoe" "${train[@]::5}" --train.steps 1 --train.out one --parallel.tp 1
mkdir large
yes "we hold these truths to be plain" | head -c 200000000 >large/text.txt || true
caught() {  # by the program: the shell from which it comes catches SIGTERM as well
  [[ /proc/$job/exe -ef $mumoe ]] && (((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$job/status" 2>/dev/null || echo 0) >> 14) & 1))
}
prepares() {  # prepares NAME SIGNAL LINE WORD...; sample may write by then, and LINE is what it says before
  local code=0 said
  "$mumoe" "${@:4}" >stdout 2>stderr </dev/null &
  job=$!
  await 10 "signals taken" caught
  kill -"$2" "$job"
  wait "$job" || code=$?
  said=$(cat stdout stderr)
  [[ $code == 3 ]] || wrong "$1: code $code: $said"
  [[ $said == "$3" || ($1 == sample && -s stdout && ! -s stderr) ]] || wrong "$1: $said"
}
prepares "data" USR1 "stopped by a signal: the same command makes what is missing" data --data.source large --out made
prepares "sample" INT "mumoe sample: stopped by a signal" sample --run one --tokens 100000000 --temperature 0
prepares "eval" TERM "stopped by a signal: nothing was written" eval --run one --data large

end
