#!/usr/bin/env bash
# Tests launch/test in a scratch clone with nothing built and set-up and build replaced: a formatted file passes the
# formatting check, an unformatted one fails it, the last line counts both; and each preset runs the tests that it should.
# shellcheck disable=SC2065  # launch/test is no test command
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }

cd "$folder"
git init -q .
mkdir launch
cp "$root/launch/test" "$root/launch/unforeseen.sh" launch
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
# A build that does not end is named, with where it stood.
mkdir -p build
printf '[8/9] Linking what_hung\nninja: build stopped: interrupted by user.\n' >build/release.log
printf '#!/bin/sh\nexit 124\n' >launch/build
launch/test --quick >out 2>&1 </dev/null || true
grep -q "quick: the build ran past 1500 s, its last line: \[8/9\] Linking what_hung$" out || wrong "no last line in: $(<out)"

# A project whose tests are nothing but labels; its release has CUDA, so that no-cuda and sim-gpu are run as well.
cp "$root/CMakePresets.json" .
cat >CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(labels LANGUAGES NONE)
set(NCCL_LIBRARY /usr/lib/libnccl.so CACHE FILEPATH "")
enable_testing()
foreach(label fast golden threads mpi slow long root gpu)
  add_test(NAME ${label} COMMAND true)
  set_tests_properties(${label} PROPERTIES LABELS ${label})
endforeach()
add_test(NAME gpus COMMAND true)
set_tests_properties(gpus PROPERTIES LABELS "gpu;gpus")
if(MUMOE_CUDA STREQUAL "SIMULATED")
  add_test(NAME sim COMMAND true)
  set_tests_properties(sim PROPERTIES LABELS sim)
endif()
CMAKE
cat >launch/build <<'BUILD'
#!/bin/sh
exec cmake --preset "$1" >/dev/null 2>&1
BUILD
mkdir bin
be() { printf '#!/bin/sh\necho %d\n' "$1" >bin/id; chmod +x bin/id; }  # be USER_ID
export PATH=$PWD/bin:$PATH
be 0
code=0
launch/test >out 2>&1 </dev/null || code=$?
[[ $code == 0 ]] || wrong "exit code $code, expected 0: $(<out)"
expect_counts() {
  local count
  for count; do grep -q "^test: $count passed, 0 failed" out || wrong "expected '$count passed' in: $(<out)"; done
}
expect_counts "release: 7" "no-cuda: 5" "sim-gpu: 1" "tsan: 1" "asan: 5"
launch/test --quick >out 2>&1 </dev/null || true
expect_counts "quick: 5"
# Who is not root is told what is left out; without launch/test such tests fail.
be 1000
launch/test --full >out 2>&1 </dev/null || true
expect_counts "release: 6" "asan: 5"
grep -q "^test: release: not root: the tests that need it (label root) are left out$" out || wrong "expected a line in: $(<out)"
launch/test --quick >out 2>&1 </dev/null || true
expect_counts "quick: 4"
launch/test --gpu >out 2>&1 </dev/null || true
grep -q "^test: gpu: 1 passed, 0 failed" out || wrong "--gpu: expected one test in: $(<out)"
grep -q "^test: gpu: one GPU: the tests that need several (label gpus) are left out$" out || wrong "expected a line in: $(<out)"
# With several GPUs the tests for them are run, with one they are not.
for number in 1 2; do
  printf '#!/bin/sh\nfor gpu in $(seq %d); do echo "GPU $gpu: of the test"; done\n' $number >bin/nvidia-smi
  chmod +x bin/nvidia-smi
  launch/test --gpu >out 2>&1 </dev/null || true
  grep -q "^test: gpu: $number passed, 0 failed" out || wrong "--gpu: expected $number tests in: $(<out)"
done
