#!/usr/bin/env bash
# Tests tests/launch/fresh with a stand-in for debootstrap: a root that cannot be made, or not be entered, is one failed
# test that says why, and however it ends nothing is left: no process, no mount, no root. Needs root.
# shellcheck disable=SC2016  # other programs expand them
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

cd "$folder"
mkdir bin
chmod 755 .
fresh=("$root/tests/launch/fresh/fresh_test.sh" "$folder/work")
program() { printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"; chmod +x "bin/$1"; }
fails() {  # fails NAME TEXT COMMAND...: TEXT is said, and the last line counts one failed test
  local code=0
  PATH=$folder/bin:$PATH timeout 60 "${@:3}" >said 2>&1 </dev/null || code=$?
  [[ $code == 1 ]] || wrong "$1: code $code, expected 1: $(<said)"
  [[ $(tail -n 1 said) == "fresh: 0 passed, 1 failed" ]] || wrong "$1: expected one failed test in: $(<said)"
  grep -qF -- "$2" said || wrong "$1: expected '$2' in: $(<said)"
  nothing_left "$1"
}
left_running() { grep -lF "$folder/work" /proc/[0-9]*/cmdline 2>/dev/null || true; }
nothing_left() {
  local left
  [[ ! -e work/root && ! -e work/clone ]] || wrong "$1: left behind: $(ls work)"
  left=$(left_running)
  [[ -z $left ]] || wrong "$1: processes left behind: $left"
  if grep -qF "$folder" /proc/self/mountinfo; then wrong "$1: a mount was left behind"; fi
}

program apt-get 'echo "http://mirror.invalid/debian/ bookworm main"'
program debootstrap 'mkdir -p "$3/proc"; echo "E: no such mirror"; exit 1'
fails "no mirror" "E: no such mirror" "${fresh[@]}"
grep -q "^fresh: root: exit code 1, after [0-9]* s" said || wrong "no mirror: $(<said)"
program apt-get 'echo "http://mirror.invalid/ubuntu/ noble main"'
fails "no source of Debian 12" "the sources of this machine's apt have no bookworm main" "${fresh[@]}"
program apt-get 'echo "http://mirror.invalid/debian/ bookworm main"'
program debootstrap 'exit 0'  # an empty root, in which nothing can be mounted
fails "an empty root" "fresh_root.sh: line " "${fresh[@]}"
program df 'echo Avail; echo 3'
fails "a full disk" "has 3 GB free: expected 12" "${fresh[@]}"
rm bin/df
mkdir -p work
flock work/lock sleep 5 &
sleep 0.5
fails "another at work" "another one is at work in $folder/work" "${fresh[@]}"
wait
program id 'echo 1000'
fails "not root" "expected to be root" "${fresh[@]}"
rm bin/id

for signal in TERM INT KILL; do
  rm -rf work
  program debootstrap "mkdir -p \"\$3\"; touch $folder/begun; sleep 1000"
  rm -f begun
  # What a script starts in the background ignores SIGINT, but for this.
  PATH=$folder/bin:$PATH setsid env --default-signal=INT "${fresh[@]}" >said 2>&1 </dev/null &
  child=$!
  for ((i = 0; i < 300; i++)); do if [[ -e begun ]]; then break; fi; sleep 0.1; done
  [[ -e begun ]] || wrong "SIG$signal: it did not begin: $(<said)"
  kill -"$signal" $child
  wait $child 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do if [[ -z $(left_running) ]]; then break; fi; sleep 0.1; done
  # Who is killed at once cannot clean up: the next one does.
  if [[ $signal == KILL ]]; then rm -rf work/root work/clone; fi
  nothing_left "SIG$signal"
done

((failures == 0)) || { echo "$failures failed"; exit 1; }
