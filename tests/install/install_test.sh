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
# What a user includes is there, with all that it includes, and nothing of how it is done.
cd "$folder/installed/include/mumoe"
for header in mumoe/block.h model/gpt2.h dist/params/flat_buckets.h; do [[ -e $header ]] || wrong "no $header"; done
others=$(find . -name '*.h' | grep -E '/(data|run|train|launch|nccl)/|_(cpu|cuda|isa)\.h|/mpi/[^/]*(thread|context|ops|communicator|reduction)') || true
[[ -z $others ]] || wrong "not for users: $others"
while read -r header; do
  [[ -e $header ]] || wrong "$header is included and not installed"
done < <(grep -rhoP '^#include "\K[^"]+' . | sort -u)
cd "$folder"
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
