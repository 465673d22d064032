#!/usr/bin/env bash
# terminal_test.sh MUMOE: a closed terminal and Ctrl-Z, for the program, launch/mpirun and launch/run (terminal.py).
set -euo pipefail

mumoe=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
launch=$(realpath "$here/../../../launch")
# shellcheck source-path=SCRIPTDIR
source "$here/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[parallel]
deadline = 3
[train]
batch = 4
eval_windows = 4
gemm = mkl
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null

# launch/run goes to the folder above its own, whatever a link points to; what it sets up and builds is there.
mkdir -p clone/launch clone/build/release
ln -s "$launch"/{run,mpirun,unforeseen.sh,job.sh} clone/launch/
printf '#!/bin/sh\n' | tee clone/launch/setup >clone/launch/build
chmod +x clone/launch/setup clone/launch/build
ln -s "$mumoe" clone/build/release/mumoe

unset MUMOE_TTY COLUMNS
timeout -k 5 280 python3 "$here/terminal.py" "$mumoe" "$launch/mpirun" clone/launch/run
echo "all passed"
