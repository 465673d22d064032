#!/usr/bin/env bash
# What launch/run --restart and launch/slurm.sbatch do about each end of training, in a scratch clone whose programs are
# stand-ins: each try of training does what the next word of ./plan says.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
mkdir -p bin launch build/release configs
cp "$root"/launch/{run,slurm.sbatch,unforeseen.sh,job.sh} launch
touch configs/gpt2_cp_small.cfg
program() {  # program FILE TEXT: a program that runs TEXT
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$1"
  chmod +x "$1"
}
for file in launch/setup launch/build build/release/mumoe; do program $file 'exit 0'; done
# A word is CODE, CODE+STEP (with a checkpoint of that step) or CODE@SIGNAL (when it gets that). What it was asked is in ./asked.
# shellcheck disable=SC2016  # another script expands them
program launch/mpirun '
words="$*"
echo "${words#*mumoe train }" >>asked
read -r word rest <plan
echo "$rest" >plan
if [[ $word == *+* ]]; then mkdir -p "out/checkpoints/step_${word#*+}"; touch "out/checkpoints/step_${word#*+}/manifest.json"; fi
if [[ $word == *@* ]]; then
  trap "exit ${word%@*}" "${word#*@}"
  echo $$ >waiting
  for ((i = 0; i < 1200; i++)); do sleep 0.05; done
fi
exit "${word%+*}"'

begin() {  # begin PLAN [STEP]: with a checkpoint of STEP
  rm -rf out asked waiting requeued said
  echo "$1" >plan
  if [[ ${2:-} ]]; then mkdir -p "out/checkpoints/step_$2"; touch "out/checkpoints/step_$2/state.safetensors"; fi
}
# ends NAME CODE TRIES TEXT GOT: as it got, after so many tries, with a last line that holds TEXT.
ends() {
  [[ $5 == "$2" ]] || wrong "$1: code $5, expected $2: $(<said)"
  [[ $(wc -l <asked) == "$3" ]] || wrong "$1: $(wc -l <asked) tries, expected $3: $(<said)"
  [[ $(tail -n 1 said) == *"$4"* ]] || wrong "$1: expected '$4' at the end of: $(<said)"
}
runs() {  # runs NAME CODE TRIES TEXT [OPTION...]
  local code=0
  PATH=$folder/bin:$PATH timeout -k 5 60 launch/run --no-sample --train.out out "${@:5}" >said 2>&1 </dev/null || code=$?
  ends "$1" "$2" "$3" "$4" "$code"
}

# ---- launch/run
begin "5 0"
runs "not asked to" 5 1 "launch/run: training: communication failure (exit 5)"
begin "137+00000004 5+00000008 1+00000012 3+00000016 0"
runs "each end that may be another's" 0 5 "launch/run: done: " --restart 9
[[ $(grep '; started again' said) == "launch/run: training: a rank was killed by signal 9 (SIGKILL); started again from step 4 (1 of 9)
launch/run: training: communication failure; started again from step 8 (2 of 9)
launch/run: training: internal error, code 1; started again from step 12 (3 of 9)
launch/run: training: stopped before its end; started again from step 16 (4 of 9)" ]] || wrong "lines: $(<said)"
for code in 2 4; do
  begin "$code+00000004 0"
  runs "an end that comes again" $code 1 "(exit $code)" --restart 9
done
begin "5+00000001 5+00000002 5+00000003 0"
runs "as often as asked" 5 3 "communication failure; started again 2 times, as often as --restart allows (exit 5)" --restart=2
begin "5 5 0"
runs "no checkpoint at all" 5 2 "communication failure; not started again: two tries in a row without a newer checkpoint (exit 5)" --restart 9
grep -q "; started again from the start (1 of 9)" said || wrong "no checkpoint at all: $(<said)"
begin "3 3+00000012 3 3 0" 00000008
runs "two tries in a row" 3 4 "stopped before its end, with what was saved in out; the same command goes on from there; not started again: two" --restart 9
begin "5 0" 00000008
runs "once without" 0 2 "done: " --restart 1
grep -q "; started again from step 8 (1 of 1)$" said || wrong "once without: $(<said)"
# How it is asked to go on.
begin "5+00000004 0"
runs "options" 0 2 "done: " --restart 1 --train.resume --train.steps 9 --train.resume=yes --train.resume no --model.depth 2
[[ $(tail -n 1 asked) == "--config configs/gpt2_cp_small.cfg --train.out out --train.steps 9 --model.depth 2 --train.resume auto" ]] ||
  wrong "options: $(<asked)"
begin ""
code=0
launch/run --restart many >said 2>&1 </dev/null || code=$?
[[ $code == 2 && $(<said) == "launch/run: --restart many: expected a number of at least 0 (exit 2)" ]] || wrong "--restart many: $code, $(<said)"

# Who stops this script wants no other try, whatever the end.
# signalled NAME SIGNAL PLAN CODE TEXT
signalled() {
  local code=0
  begin "$3 0"
  setsid launch/run --no-sample --train.out out --restart 9 >said 2>&1 </dev/null &
  local child=$!
  for ((i = 0; i < 400; i++)); do if [[ -s waiting ]]; then break; fi; sleep 0.05; done
  kill -"$2" $child
  wait $child || code=$?
  ends "$1" "$4" 1 "$5" $code
}
signalled "SIGTERM" TERM "3@TERM" 3 "stopped by a signal, with what was saved in out; the same command goes on from there (exit 3)"
signalled "SIGUSR1" USR1 "3@USR1" 3 "stopped by a signal, with what was saved in out; the same command goes on from there (exit 3)"
signalled "SIGTERM, and a failure" TERM "5@TERM" 5 "communication failure (exit 5)"

# ---- launch/slurm.sbatch
# shellcheck disable=SC2016  # another script expands it
program bin/sleep '[[ $1 == 60 ]] || exec /bin/sleep "$1"'  # Slurm would end the job meanwhile
program bin/scontrol 'echo "$*" >requeued'
batch() {  # batch NAME CODE REQUEUED TEXT [VARIABLE=VALUE...]
  local code=0
  PATH=$folder/bin:$PATH timeout -k 5 60 env SLURM_JOB_ID=7 SLURM_NTASKS=1 MUMOE_SRUN_MPI=mpirun SLURM_SUBMIT_DIR="$folder" "${@:5}" \
    launch/slurm.sbatch --train.out out >said 2>&1 </dev/null || code=$?
  requeued "$1" "$3"
  ends "$1" "$2" 1 "$4" "$code"
}
requeued() { [[ $(cat requeued 2>/dev/null || echo no) == "$2" ]] || wrong "$1: requeued? expected '$2': $(<said)"; }
begin 5+00000004
batch "a failure" 5 "requeue 7" "communication failure"
grep -qx "launch/slurm.sbatch: communication failure, with what was saved in out; queued anew" said || wrong "a failure: $(<said)"
begin 137+00000012 00000008
batch "a rank killed" 5 "requeue 7" "a rank was killed by signal 9 (SIGKILL)" SLURM_RESTART_COUNT=99
begin 1+00000012 00000008
batch "too often" 1 no "internal error, code 1; not queued anew: it was 100 times before (MUMOE_REQUEUES) (exit 1)" SLURM_RESTART_COUNT=100
begin 5+00000012 00000008
batch "as often as allowed" 5 no "it was 2 times before" SLURM_RESTART_COUNT=2 MUMOE_REQUEUES=2
begin 5 00000008
batch "no newer checkpoint" 5 no "communication failure; not queued anew: nothing new was saved in out (exit 5)"
for code in 2 4; do
  begin "$code+00000004"
  batch "an end that comes again" $code no "(exit $code)"
done
begin 3+00000004
batch "stopped, not by its time limit" 3 no "preempted, with what was saved in out; the same command goes on from there (exit 3)"
begin 0+00000004
batch "done" 0 no "done: the trained model is in out (exit 0)"
[[ -e out/finished ]] || wrong "done: not marked"
begin 5+00000004
program bin/scontrol 'exit 1'
batch "Slurm refuses" 5 no "communication failure; not queued anew: Slurm did not take it (exit 5)"
program bin/scontrol 'echo "$*" >requeued'

# batched NAME SIGNAL PLAN STEP CODE REQUEUED TEXT: the batch script gets SIGNAL; a checkpoint of STEP comes then.
batched() {
  local code=0 child
  begin "$3" 00000008
  PATH=$folder/bin:$PATH env SLURM_JOB_ID=7 SLURM_NTASKS=1 MUMOE_SRUN_MPI=mpirun SLURM_SUBMIT_DIR="$folder" \
    setsid launch/slurm.sbatch --train.out out >said 2>&1 </dev/null &
  child=$!
  for ((i = 0; i < 400; i++)); do if [[ -s waiting ]]; then break; fi; sleep 0.05; done
  if [[ $4 ]]; then mkdir -p "out/checkpoints/step_$4"; touch "out/checkpoints/step_$4/manifest.json"; fi
  kill -"$2" $child
  if [[ $2 == TERM ]]; then kill -USR2 "$(<waiting)"; fi
  wait $child || code=$?
  requeued "$1" "$6"
  ends "$1" "$5" 1 "$7" $code
}
batched "warned" USR1 3@USR1 00000012 3 "requeue 7" "stopped before the time limit"
batched "warned in vain" USR1 3@USR1 "" 3 no "stopped before the time limit; not queued anew: nothing new was saved in out, with what"
batched "cancelled" TERM 143@USR2 00000012 5 no "a rank was killed by signal 15 (SIGTERM) (exit 5)"

end
