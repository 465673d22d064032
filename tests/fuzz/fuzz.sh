#!/usr/bin/env bash
# tests/fuzz/fuzz.sh SECONDS [TARGET]...
# Feeds the readers of a checkpoint's files, safetensors and manifest (or the TARGETs named), what libFuzzer makes of the
# checkpoints in tests/run/fixtures: each for SECONDS, under AddressSanitizer, two at once where there are cores. A crash,
# a hang of 20 s, or an allocation that no file of this size is worth ends a target; what it was fed stays in build/fuzz.
# Needs clang 16 or later (Debian: clang-16 libclang-rt-16-dev): those before know too little C++20; CXX names another.
set -euo pipefail

cd -P "$(dirname "$0")/../.."
seconds=${1:?tests/fuzz/fuzz.sh SECONDS [TARGET]...}
targets=("${@:2}")
if ((${#targets[@]} == 0)); then targets=(safetensors manifest); fi
torch=${TORCH_DIR:-${MUMOE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mumoe}/libtorch-2.11.0/torch}
[[ -e $torch/lib/libtorch_cpu.so ]] || { echo "tests/fuzz/fuzz.sh: no LibTorch in $torch: run launch/setup" >&2; exit 2; }
cxx=${CXX:-}
for version in 19 18 17 16; do
  if [[ -z $cxx ]] && command -v clang++-$version >/dev/null; then cxx=clang++-$version; fi
done
[[ $cxx ]] || { echo "tests/fuzz/fuzz.sh: no clang++-16 or later: apt-get install clang-16 libclang-rt-16-dev" >&2; exit 2; }
folder=build/fuzz
mkdir -p $folder

# Only what is read with: nothing of it needs more of LibTorch than tensors.
sources=(base/direct_io.cpp base/disk.cpp base/error.cpp base/file.cpp base/file_lock.cpp base/fmt.cpp base/json.cpp base/number.cpp mumoe/safetensors.cpp
  run/checked_file.cpp run/checkpoint_folder.cpp run/manifest.cpp run/manifest_check.cpp run/parity.cpp run/single_file.cpp)
# shellcheck disable=SC2054  # a comma of the option
flags=(-std=c++20 -O1 -g1 -fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer -I. -isystem "$torch/include")
compile() {  # compile FILE: if it is newer than its object, or a header is
  local object=$folder/${1//\//_}.o
  if [[ ! -e $object || -n $(find base run mumoe dist tests/fuzz -name '*.h' -newer "$object" -print -quit) || $1 -nt $object ]]; then
    "$cxx" "${flags[@]}" -c "$1" -o "$object"
  fi
}
for source in "${sources[@]}"; do compile "$source"; done
objects=("${sources[@]//\//_}")
objects=("${objects[@]/#/$folder/}")
for target in "${targets[@]}"; do
  compile "tests/fuzz/${target}_fuzz.cpp"
  "$cxx" -fsanitize=fuzzer,address "$folder/tests_fuzz_${target}_fuzz.cpp.o" "${objects[@]/%/.o}" -o "$folder/$target" \
    -L"$torch/lib" -Wl,-rpath,"$torch/lib" -ltorch_cpu -lc10 -lxxhash
done

# What they begin with: the files of the fixtures, and for the headers of safetensors files what parts of them say.
seeds() {
  mkdir -p "$folder/$1.seeds" "$folder/$1.found"
  local file suffix=safetensors
  if [[ $1 == manifest ]]; then suffix=manifest.json; fi
  while IFS= read -r file; do
    cp "$file" "$folder/$1.seeds/$(echo "$file" | cksum | cut -d ' ' -f 1)"
  done < <(find tests/run/fixtures tests/run/hf/small -name "*$suffix" -size -64k)
}
# No file of 64 KiB is worth more at once than JSON makes of it, a node of 16 bytes for each of its bytes, and room for
# as many again while a list grows.
limits=(-max_len=65536 -malloc_limit_mb=4 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1)
code=0 children=()
for target in "${targets[@]}"; do
  seeds "$target"
  "$folder/$target" "$folder/$target.found" "$folder/$target.seeds" "${limits[@]}" -max_total_time="$seconds" \
    -dict=tests/fuzz/words.dict -artifact_prefix="$folder/$target-" >"$folder/$target.log" 2>&1 &
  children+=($!)
done
for ((i = 0; i < ${#targets[@]}; i++)); do
  target=${targets[i]}
  if wait "${children[i]}"; then
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log") inputs in $seconds s, nothing found"
  else
    code=1
    echo "fuzz: $target: FAILED: $(grep -m 1 -E 'ERROR|SUMMARY|libFuzzer: ' "$folder/$target.log") (all of it: $folder/$target.log)"
  fi
done
exit $code
