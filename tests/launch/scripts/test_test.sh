#!/usr/bin/env bash
# Tests launch/test in a scratch clone with nothing built and set-up and build replaced: a formatted file passes the
# formatting check, an unformatted one fails it, and the last line counts both.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }

cd "$folder"
git init -q .
mkdir launch
cp "$root/launch/test" launch/test
cp "$root/.clang-format" .
printf '#!/bin/sh\nexit 0\n' >launch/setup
printf '#!/bin/sh\nexit 1\n' >launch/build
chmod +x launch/setup launch/build

expect() {  # expect TEXT LAST_LINE
  printf '%s' "$1" >file.cpp
  git add file.cpp
  code=0
  launch/test --quick --format >out 2>&1 </dev/null || code=$?
  [[ $code == 1 ]] || wrong "exit code $code, expected 1: the build fails here: $(<out)"
  [[ $(tail -n 1 out) == "$2" ]] || wrong "expected '$2' at the end of: $(<out)"
}
expect $'int main() {\n  return 0;\n}\n' "1 passed, 1 failed"
expect $'int main(){return 0;}\n' "0 passed, 2 failed"
