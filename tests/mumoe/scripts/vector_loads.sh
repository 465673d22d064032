#!/bin/bash
# vector_loads.sh NVCC INCLUDE[,INCLUDE...] FILE.cu...: every kernel that is bound by memory reads 16 bytes in one
# access, in the PTX that nvcc makes of these files.
set -euo pipefail
nvcc=$1
includes=(${2//,/ })
shift 2

kernels=(
  forward_kernel.*RegisterRow.*Bf16 backward_kernel.*RegisterRow.*Bf16
  hadamard_forward_kernel.*Bf16 hadamard_backward_kernel.*Bf16
  chain_forward_kernel.*Bf16 chain_backward_kernel.*Bf16
  gelu_forward_kernel.*Bf16 gelu_backward_kernel.*Bf16
  norm_forward_kernel.*Bf16 norm_backward_kernel.*Bf16
  adamw_kernel
  17statistics_kernel.*Bf16 15gradient_kernel.*Bf16 statistics_and_gradient_kernel.*Bf16
)

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for file; do
  "$nvcc" -ptx -arch=compute_90 -std=c++17 -O3 -DFMT_HEADER_ONLY "${includes[@]/#/-I}" "$file" \
    -o "$folder/$(basename "$file").ptx"
done

# The kernels that have such an access, by their names in the PTX.
found=$(awk '
  /(^| )\.entry / { name = $0; sub(/.*\.entry /, "", name); sub(/[ (].*/, "", name) }
  /ld\.global.*\.v4\.(b|u|s|f)32[ \t]/ || /ld\.global.*\.v2\.(b|u|s|f)64[ \t]/ { print name }' "$folder"/*.ptx | sort -u)

failed=0
for kernel in "${kernels[@]}"; do
  if ! grep -qE "$kernel" <<<"$found"; then
    echo "no access of 16 bytes in $kernel"
    failed=1
  fi
done
exit $failed
