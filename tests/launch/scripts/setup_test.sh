#!/usr/bin/env bash
# Tests launch/setup: quick when there is nothing to do, and plain about a TORCH_DIR that will not do.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }

"$root/launch/setup" --quiet
begin=$(date +%s%N)
said=$("$root/launch/setup" --quiet)
took=$((($(date +%s%N) - begin) / 1000000))
((took < 2000)) || wrong "a second run took $took ms, expected less than 2000"
[[ -z $said ]] || wrong "a second run changed something: $said"

refused() {  # refused NAME TORCH_DIR TEXT
  local code=0
  TORCH_DIR=$2 "$root/launch/setup" --quiet >"$folder/out" 2>&1 </dev/null || code=$?
  [[ $code == 2 ]] || wrong "$1: exit code $code, expected 2: $(<"$folder/out")"
  [[ $(wc -l <"$folder/out") == 1 ]] || wrong "$1: expected one line, got: $(<"$folder/out")"
  grep -qF -- "$3" "$folder/out" || wrong "$1: expected '$3' in: $(<"$folder/out")"
}
refused "no such folder" "$folder/none" "$folder/none"
mkdir -p "$folder/torch/include/torch/headeronly" "$folder/torch/include/ATen/core" "$folder/torch/lib"
touch "$folder/torch/include/ATen/core/Tensor.h"
touch "$folder/torch/lib/libtorch_cpu.so" "$folder/torch/lib/libc10.so"
printf '#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 5\n#define TORCH_VERSION_PATCH 1\n' \
  >"$folder/torch/include/torch/headeronly/version.h"
refused "another version" "$folder/torch" "2.5"
