#!/usr/bin/env bash
# device_test.sh MUMOE LIBRARY: a run on a machine whose GPUs cannot be used says why and computes on the CPU, or is refused
# where GPUs are asked for; one without GPUs says nothing of them. LIBRARY, preloaded, answers for CUDA.
set -euo pipefail

mumoe=$(realpath "$1")
library=$(realpath "$2")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16

cat >>tiny.cfg <<'CONFIG'
[train]
steps = 1
batch = 2
eval_windows = 2
precision = fp32
gemm = mkl
CONFIG
cat >with <<SCRIPT
#!/bin/sh
# with CODE DRIVER COMMAND...: where counting GPUs gives CODE, and the driver is for CUDA DRIVER.
export CUDA_CODE=\$1 CUDA_DRIVER=\$2 LD_PRELOAD=$library
shift 2
exec "\$@"
SCRIPT
chmod +x with
train=("$mumoe" train --config tiny.cfg)
silent() { if grep -sE 'GPUs are not used|use its GPU|has no GPU' stdout stderr; then wrong "$1: GPUs are spoken of"; fi; }  # LibTorch may warn

old="cannot use its GPU: cudaGetDeviceCount: cudaErrorInsufficientDriver, CUDA driver version is insufficient for CUDA \
runtime version (the driver is for CUDA 12.2, this program needs 13."
quiet ./with 35 12020 "${train[@]}" --train.out out
sed -n '/^compute /,/^mesh /p' stdout | grep -q '^         GPUs are not used: rank 0 on host ' || wrong "no reason: $(<stdout)"
grep -qF "$old" stdout || wrong "expected '$old' in: $(<stdout)"
quiet ./with 35 12020 "$mumoe" sample --run out --tokens 1
grep -qF "$old" stderr || wrong "sample: expected '$old' in: $(<stderr)"
quiet ./with 35 12020 "${train[@]}" --train.out none --train.device cpu
silent "the CPU was asked for"
refused "an old driver" "train.device = cuda: rank 0 on host" ./with 35 12020 "${train[@]}" --train.out none --train.device cuda
grep -qF "$old" stderr || wrong "an old driver: $(<stderr)"
refused "not ready" "cannot use its GPU: cudaGetDeviceCount: cudaErrorSystemNotReady, system not yet initialized" \
  ./with 802 13000 "$mumoe" bench layer --device cuda

# No driver, no GPU, CUDA's library for linking alone.
while read -r code driver; do
  quiet ./with "$code" "$driver" "${train[@]}" --train.out none
  silent "code $code"
  refused "no GPU, code $code" " has no GPU 0: 0 visible" \
    ./with "$code" "$driver" "${train[@]}" --train.out none --train.device cuda
done <<<$'35 0\n100 13000\n34 0'
end
