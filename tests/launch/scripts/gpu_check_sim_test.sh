#!/usr/bin/env bash
# gpu_check_sim_test.sh BUILD: launch/gpu_check on simulated GPUs. The archive of a build with them, unpacked, finds the
# program's numbers on a GPU to be those of the CPU, and NCCL well with a thread for each of two GPUs.
set -euo pipefail

build=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
cache=${MUMOE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mumoe}
# shellcheck source-path=SCRIPTDIR
source "$root/tests/launch/scripts/tiny_model.sh" 1 16

quiet "$build/mumoe" data --config tiny.cfg --out tokens
MUMOE_GPU_BUILD=$build MUMOE_CACHE=$cache timeout -k 5 200 "$root/launch/gpu_check" --pack sim.tar.xz >stdout 2>stderr ||
  wrong "no archive: $(cat stdout stderr)"
python3 -m tarfile -e sim.tar.xz
export PYTHONPATH
PYTHONPATH=$(dirname "$(realpath "$build/libtorch")")  # PyTorch is looked for, not loaded
SIM_GPU_DEVICES=2 timeout -k 5 200 mumoe_gpu_check/gpu_check --data tokens --out found.jsonl exact nccl >stdout 2>stderr </dev/null ||
  wrong "code $?: $(cat stdout stderr found.jsonl)"
grep -q '"same_bits": true' found.jsonl || wrong "no equal bits in: $(<found.jsonl)"
grep -q '"stage": "nccl".*"tests": [1-9][0-9]*, "failures": 0' found.jsonl || wrong "not all tests of NCCL in: $(<found.jsonl)"
# Its kernels against ceilings that a probe of a GPU might have found; few tokens are enough here.
mv mumoe_gpu_check/bin/mumoe mumoe_gpu_check/bin/program
# shellcheck disable=SC2016
printf '%s\n' '#!/bin/bash' '[[ $1 != bench ]] || set -- "$@" --tokens 4' 'exec "$(dirname "$0")/program" "$@"' >mumoe_gpu_check/bin/mumoe
chmod +x mumoe_gpu_check/bin/mumoe
echo '{"stage": "probe", "ok": true, "at": "", "copy_gb_s": {"device": 2000}, "gemm_tflop_s": {"bf16 8192 random": 500}}' >>found.jsonl
quiet mumoe_gpu_check/gpu_check --data tokens --out found.jsonl roofline
tail -n 1 found.jsonl | grep -q '"kernel": "norm forward", .*"share": ' || wrong "no roofline: $(tail -n 1 found.jsonl)"

# 124M, counted without values: what the start table says of a GPU's memory is near what tensors hold.
SIM_GPU_COMPUTES=0 SIM_GPU_MIB=81920 timeout -k 5 100 mumoe_gpu_check/gpu_check --out found.jsonl memory >stdout 2>stderr </dev/null ||
  wrong "memory: $(cat stdout stderr)"

# Without a GPU, each stage that needs one says so in a line, and none is well.
SIM_GPU_DEVICES=0 timeout -k 5 60 mumoe_gpu_check/gpu_check --data tokens --out none.jsonl exact train memory >stdout 2>stderr </dev/null &&
  wrong "well without a GPU: $(<stdout)"
(($(grep -c '"ok": false.*has no GPU 0' none.jsonl) == 3)) || wrong "without a GPU: $(<none.jsonl)"
end
