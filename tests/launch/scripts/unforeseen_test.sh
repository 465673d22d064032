#!/usr/bin/env bash
# Tests that no script ends without a word: launch/unforeseen.sh where commands fail in pipelines, functions and subshells;
# launch/run, launch/test, launch/trace, launch/slurm.sbatch and .ci/run in a scratch clone, with commands that fail. (launch/setup and
# launch/build: setup_test.sh, build_test.sh.)
# shellcheck disable=SC2016  # other scripts expand them
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

cd "$folder"
mkdir -p bin launch .ci build/release configs runs tests/launch/fresh
cp "$root"/launch/{run,test,slurm.sbatch,unforeseen.sh,job.sh} launch
cp "$root/.ci/run" .ci
touch configs/gpt2_cp_small.cfg
program() {  # program FILE TEXT: a program that runs TEXT
  printf '#!/bin/sh\n%s\n' "$2" >"$1"
  chmod +x "$1"
}
ends() {  # ends NAME CODE TEXT COMMAND...: with this code, and a last line of both outputs that holds TEXT
  local code=0
  timeout 60 env PATH="$folder/bin:$PATH" "${@:4}" >said 2>&1 </dev/null || code=$?
  [[ $code == "$2" ]] || wrong "$1: code $code, expected $2: $(<said)"
  [[ $(tail -n 1 said) == *"$3"* ]] || wrong "$1: expected '$3' at the end of: $(<said)"
}

# ---- launch/unforeseen.sh
script() {  # script LINE...: a script of these lines
  { echo '#!/usr/bin/env bash'; echo 'set -euo pipefail'; echo '. launch/unforeseen.sh the/script'; printf '%s\n' "$@"; } >script
  chmod +x script
}
script 'ls nowhere'
ends "a command" 1 "the/script: line 4: ls nowhere: failed (exit 2)" ./script
script 'f() {' '  local x' '  x=$(grep a /dev/null | cat)' '  echo $x' '}' 'f'
ends "a pipeline in an assignment in a function" 1 'the/script: line 6: x=$(grep a /dev/null | cat): failed (exit 1)' ./script
[[ $(wc -l <said) == 1 ]] || wrong "a subshell and what holds it: expected one line: $(<said)"
script '(exit 3)'
ends "a subshell" 1 "failed (exit 3)" ./script
script 'log=here.log' 'false'
ends "with a log" 1 "the/script: line 5: false: failed (exit 1); its output: here.log" ./script
script 'false || true' 'if false; then exit 9; fi' 'false && exit 9' 'echo fine'
ends "failures that are reckoned with" 0 "fine" ./script

# ---- launch/run
program launch/setup 'echo "launch/setup: no network" >&2; exit 2'
program launch/build 'exit 0'
program launch/mpirun 'exit 0'
program build/release/mumoe 'exit 0'
ends "run: setting up" 2 "launch/run: setting up failed (exit 2)" launch/run
grep -qx "launch/setup: no network" said || wrong "run: no reason before: $(<said)"
program launch/setup 'exit 0'
program launch/build 'echo "launch/build: release: building failed (all of it: LOG)" >&2; exit 1'
ends "run: building" 1 "launch/run: the build failed (exit 1)" launch/run
grep -q "all of it: LOG" said || wrong "run: no log named: $(<said)"
program launch/build 'exit 0'
mkdir -p runs/default
program bin/touch 'exit 7'
ends "run: a command" 1 'launch/run: line ' launch/run
grep -q 'touch "$out/finished": failed (exit 7)$' said || wrong "run: which command? $(<said)"
rm bin/touch
ends "run: all is well" 0 "launch/run: done: the trained model is in runs/default (exit 0)" launch/run

# ---- launch/test: the last line is always the sums
program launch/setup 'echo "launch/setup: no network" >&2; exit 2'
ends "test: setting up" 1 "0 passed, 1 failed" launch/test
grep -qx "launch/setup: no network" said || wrong "test: no reason: $(<said)"
program launch/setup 'exit 0'
program bin/ctest 'exit 0'
program bin/git 'exit 128'
ends "test: no sources to look at" 1 "0 passed, 2 failed" launch/test --quick --format
grep -q "formatting: git ls-files named no sources" said || wrong "test: no reason: $(<said)"
rm bin/git
program bin/rm 'exit 7'
ends "test: a command" 1 "0 passed, 1 failed" launch/test --quick
grep -q '^test: launch/test: line [0-9]*: rm -f "$report": failed (exit 7)$' said || wrong "test: which command? $(<said)"
rm bin/rm
program tests/launch/fresh/fresh_test.sh 'echo "fresh: 3 passed, 2 failed"; exit 1'
ends "test: the sums of a fresh root" 1 "3 passed, 2 failed" launch/test --fresh
program tests/launch/fresh/fresh_test.sh 'echo "fresh: 3 passed, 0 failed"'
ends "test: a good fresh root" 0 "3 passed, 0 failed" launch/test --fresh
program tests/launch/fresh/fresh_test.sh 'echo "no sums"; exit 7'
ends "test: a fresh root that ended early" 1 "0 passed, 1 failed" launch/test --fresh
grep -q "fresh: ended (code 7) without its sums: build/fresh.log" said || wrong "test: no reason: $(<said)"

# ---- launch/trace
echo '[{"ph": "M"}]' >events
ends "trace: events of something else" 2 "launch/trace: events: expected a trace of mumoe train" "$root/launch/trace" events
echo '[]' >events
ends "trace: no place for all ranks" 2 "launch/trace: --merge /nowhere/all: No such file" "$root/launch/trace" events --merge /nowhere/all

# ---- launch/slurm.sbatch and .ci/run
ends "slurm: not under Slurm" 2 "not under Slurm" env -u SLURM_JOB_ID launch/slurm.sbatch
slurm=(env SLURM_JOB_ID=1 SLURM_NTASKS=1 MUMOE_SRUN_MPI=mpirun)
ends "slurm: no clone" 2 "SLURM_SUBMIT_DIR=/nowhere: expected" "${slurm[@]}" SLURM_SUBMIT_DIR=/nowhere launch/slurm.sbatch
program bin/mktemp 'exit 7'
ends "slurm: a command" 1 'errors=$(mktemp): failed (exit 7)' "${slurm[@]}" SLURM_SUBMIT_DIR="$folder" launch/slurm.sbatch
rm bin/mktemp
program bin/nvcc 'exit 0'
program launch/test 'echo "$*"'
ends "ci" 0 "--format --full --fresh" .ci/run

((failures == 0)) || { echo "$failures failed"; exit 1; }
