#!/usr/bin/env bash
# install_test.sh BUILD_FOLDER: installs a build, and uses the layer and the models from outside the tree: the examples,
# with warnings as errors; what find_package says where something is missing. Two cores take two minutes.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..") build=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }
cp -r "$root/examples" "$folder/examples"
cmake --install "$build" --prefix "$folder/installed" >"$folder/log" || wrong "$(<"$folder/log")"
# What a user includes is there, with all that it includes, and nothing of how it is done.
cd "$folder/installed/include/mumoe"
for header in mumoe/module.h model/gpt2.h dist/params/flat_buckets.h; do [[ -e $header ]] || wrong "no $header"; done
inner='/(data|run|train|launch|nccl)/|_(cpu|cuda|isa)\.h|/mpi/[^/]*(thread|context|ops|communicator|reduction)'
others=$(find . -name '*.h' | grep -E "$inner|block_(file|text)\.h") || true
[[ -z $others ]] || wrong "not for users: $others"
while read -r header; do
  [[ -e $header ]] || wrong "$header is included and not installed"
done < <(grep -rhoP '^#include "\K[^"]+' . | sort -u)
cd "$folder"
warnings='-Wall -Wextra -Wpedantic -Wshadow -Werror'

configure() {  # configure EXAMPLE [CMAKE ARGUMENTS]
  local example=$1
  shift
  rm -rf "$folder/build"
  cmake -S "$folder/examples/$example" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/installed" \
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS=$warnings" "$@" >"$folder/log" 2>&1
}
made() {  # made EXAMPLE [CMAKE ARGUMENTS]
  configure "$@" || wrong "$(<"$folder/log")"
  cmake --build "$folder/build" -v >"$folder/log" 2>&1 || wrong "$(<"$folder/log")"
}
refused() {  # refused NAME TEXT EXAMPLE [CMAKE ARGUMENTS]
  local name=$1 text=$2
  shift 2
  ! configure "$@" || wrong "$name: configured"
  # CMake breaks lines where it likes.
  tr -s ' \n' ' ' <"$folder/log" | grep -qF -- "$text" || wrong "$name: expected '$text' in: $(<"$folder/log")"
}

# ---- The layer, where CMake finds no MPI and nothing else that it must not need
no=()
for package in MPI PkgConfig NCCL nlohmann_json Boost OpenSSL; do no+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"); done
made toy_regression "${no[@]}"
! grep -E 'lib(mpi|nccl|xxhash|pcre2|crypto|ssl)|mumoe_(dist|model)' "$folder/log" ||
  wrong "more than the layer is linked"
grep -q -- '-std=\(gnu\|c\)++20' "$folder/log" || wrong "the layer does not bring C++20"
cd "$folder/build"
begin=$(date +%s%N)
timeout 60 ./toy_regression >"$folder/out" || wrong "exit code $?: $(<"$folder/out")"
milliseconds=$((($(date +%s%N) - begin) / 1000000))
cd "$folder"
cat "$folder/out"
echo "took $milliseconds ms"
((milliseconds < 20000)) || wrong "expected less than 20 s"
[[ $(grep -c '^cluster [0-3] is served by expert' "$folder/out") == 4 ]] || wrong "expected four clusters"
grep -q 'loaded, the layer gives the same' "$folder/out" || wrong "expected the same layer from its file"

# ---- All headers, with the warnings of a careful user
{ find "$folder/installed/include/mumoe" -name '*.h' | sed "s|.*/include/mumoe/\(.*\)|#include \"\1\"|" | sort
  echo 'int main() {}'; } >"$folder/all.cpp"
torch=$(sed -n 's/^LibTorch_ROOT_DIR:[A-Z]*=//p' "$build/CMakeCache.txt")
# shellcheck disable=SC2086
"${CXX:-c++}" -std=c++20 -fsyntax-only $warnings -Wnon-virtual-dtor -Wextra-semi -DFMT_HEADER_ONLY \
  -I "$folder/installed/include/mumoe" -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
  "$folder/all.cpp" >"$folder/log" 2>&1 || wrong "$(<"$folder/log")"

# ---- What is not there is said, in words
refused "a wrong TORCH_DIR" "TORCH_DIR=/nowhere: expected the absolute path of a folder with include/ATen and lib/" \
  toy_regression -DTORCH_DIR=/nowhere
TORCH_DIR=torch refused "a relative TORCH_DIR" "TORCH_DIR=torch: expected the absolute path" toy_regression
mkdir -p other/include/ATen/core other/include/torch other/lib
touch other/include/ATen/core/Tensor.h other/lib/libtorch_cpu.so other/lib/libtorch_cuda.so
printf '#define TORCH_VERSION_%s\n' 'MAJOR 2' 'MINOR 10' 'PATCH 0' >other/include/torch/version.h
refused "another LibTorch" "which it was built with: $folder/other has 2.10.0" toy_regression \
  "-DTORCH_DIR=$folder/other"
sed -i 's/0.1 REQUIRED COMPONENTS model/0.1 REQUIRED COMPONENTS kernels/' "$folder/examples/gpt2_experts/CMakeLists.txt"
refused "no such component" "mumoe has no component kernels: expected layer or model" gpt2_experts
cp "$root/examples/gpt2_experts/CMakeLists.txt" "$folder/examples/gpt2_experts"
refused "no MPI" "mumoe has no component model: it needs MPI::MPI_CXX, not found here (mumoe::layer does not)" \
  gpt2_experts -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON

# ---- The layer alone is configured without what it must not need; a wrong TORCH_DIR stops mumoe's own build as well
no=()
for package in MPI PkgConfig NCCL Boost OpenSSL GTest; do no+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"); done
alone() {
  cmake --fresh -S "$root" -B "$folder/alone" -G Ninja -DMUMOE_LAYER_ONLY=ON -DMUMOE_CUDA=OFF "${no[@]}" "$@" \
    >"$folder/log" 2>&1
}
alone || wrong "$(<"$folder/log")"
! alone -DTORCH_DIR=/nowhere || wrong "a wrong TORCH_DIR: configured"
grep -q 'TORCH_DIR=/nowhere: expected the absolute path' "$folder/log" || wrong "$(<"$folder/log")"

# ---- The models: a run of one step, and its experts from outside
made gpt2_experts
for word in {1..4000}; do echo "$word of the text"; done >"$folder/text.txt"
mkdir "$folder/texts" && mv "$folder/text.txt" "$folder/texts"
MUMOE_CACHE=$folder/cache timeout 120 "$folder/installed/bin/mumoe" train --config "$root/configs/gpt2_cp_small.cfg" \
  --data.source "$folder/texts" --train.steps 1 --train.batch 1 --train.micro_batch 1 --train.precision fp32 \
  --train.gemm mkl --schedule.warmup 0 --train.eval_every 0 --train.out "$folder/run" \
  >"$folder/log" 2>&1 || wrong "exit code $?: $(<"$folder/log")"
state=$(echo "$folder"/run/checkpoints/step_*/rank_00000.safetensors)
"$folder/build/gpt2_experts" "$state" "Fellow citizens" >"$folder/out" || wrong "exit code $?: $(<"$folder/out")"
cat "$folder/out"
[[ $(grep -c '^block [0-3]: expert [0-9]* (' "$folder/out") == 4 ]] || wrong "expected four blocks"
code=0
"$folder/build/gpt2_experts" "$folder/none" "Fellow citizens" 2>"$folder/out" || code=$?
[[ $code == 2 && $(wc -l <"$folder/out") == 1 ]] || wrong "a file that is not there: code $code: $(<"$folder/out")"
"$folder/installed/bin/mumoe" --version
