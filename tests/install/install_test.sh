#!/usr/bin/env bash
# install_test.sh BUILD_FOLDER: installs a build, and builds and runs the example that uses the layer from outside the
# tree. Two cores take less than ten seconds to run it.
set -euo pipefail

source=$(realpath "$(dirname "$0")/../../examples/toy_regression")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }
cp -r "$source" "$folder/example"
cmake --install "$1" --prefix "$folder/installed" >"$folder/log" || wrong "$(<"$folder/log")"
cmake -S "$folder/example" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/installed" \
  -DCMAKE_BUILD_TYPE=Release >"$folder/log" 2>&1 || wrong "$(<"$folder/log")"
cmake --build "$folder/build" >"$folder/log" 2>&1 || wrong "$(<"$folder/log")"
begin=$(date +%s%N)
timeout 60 "$folder/build/toy_regression" >"$folder/out" || wrong "exit code $?: $(<"$folder/out")"
milliseconds=$((($(date +%s%N) - begin) / 1000000))
cat "$folder/out"
echo "took $milliseconds ms"
((milliseconds < 10000)) || wrong "expected less than 10 s"
[[ $(grep -c '^cluster [0-3] is served by expert' "$folder/out") == 4 ]] || wrong "expected four clusters"
"$folder/installed/bin/mumoe" --version
