#!/usr/bin/env bash
# install_test.sh BUILD_FOLDER: installs a build and uses the layer from a program outside the tree.
set -euo pipefail

source=$(realpath "$(dirname "$0")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$1" --prefix "$folder/installed" >"$folder/log" || { cat "$folder/log"; exit 1; }
cmake -S "$source" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/installed" -DCMAKE_BUILD_TYPE=Release \
  >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cmake --build "$folder/build" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
said=$("$folder/build/consumer")
[[ $said == "2 3 8 1" ]] || { echo "expected '2 3 8 1', got '$said'"; exit 1; }
"$folder/installed/bin/mumoe" --version
