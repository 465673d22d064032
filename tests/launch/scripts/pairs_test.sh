#!/usr/bin/env bash
# pairs_test.sh MUMOE: a run that is saved by processes at one layout goes on at another as the run of one rank that nobody
# stopped: losses to 1e-10 in fp64, the same samples. Each layout once as the one before and once as the one after, also
# with ZeRO-1 on one side alone; with MUMOE_STRESS=1 all pairs. At the same layout the bits are equal in bf16 too.
set -euo pipefail

mumoe=$(realpath "$1")
scripts=$(dirname "$(realpath "$0")")
mpirun=$(realpath "$scripts/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$scripts/tiny_model.sh" 2 16
sed -i 's/^heads = .*/heads = 4/' tiny.cfg
cat >>tiny.cfg <<'CONFIG'
[parallel]
plan = sequence
[schedule]
steps = 25
warmup = 2
[train]
steps = 25
batch = 12
eval_windows = 8
precision = fp64
gemm = mkl
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
sed -i 's/^source = .*/source = tokens/' tiny.cfg
layouts=(1x1 2x1 3x1 1x2 2x2 4x1 1x4)

# at LAYOUT OPTION...: trains on dp x tp ranks.
at() {
  local dp=${1%x*} tp=${1#*x}
  quiet "$mpirun" -n $((dp * tp)) "$mumoe" train --config tiny.cfg --parallel.tp "$tp" "${@:2}"
}
# same NAME EXPECTED FOUND TOLERANCE
same() {
  local differs
  differs=$(python3 "$scripts/losses.py" "$2" "$3" "$4" || true)
  [[ ! $differs ]] || wrong "$1: $differs"
}

quiet "$mumoe" train --config tiny.cfg --train.out whole
zero=0
for layout in "${layouts[@]}"; do
  at "$layout" --train.out "saved/$layout" --train.steps 5 --parallel.zero $zero
  zero=$((1 - zero))
done
# resume FROM TO
resume() {
  rm -rf out
  cp -r "saved/$1" out
  at "$2" --train.out out --train.resume --parallel.zero $zero
  grep -q '^resumed after step 5 from out/checkpoints/step_00000005' stdout || wrong "$1 to $2: $(grep ^resumed stdout)"
  same "$1 to $2" whole out 1e-10
  zero=$((1 - zero))
}
for ((i = 0; i < 7; i++)); do
  if [[ ${MUMOE_STRESS:-0} == 1 ]]; then
    for layout in "${layouts[@]}"; do resume "${layouts[i]}" "$layout"; done
  else
    resume "${layouts[i]}" "${layouts[(i + 3) % 7]}"
  fi
done

bf16=(--train.precision bf16 --parallel.zero 1)
at 2x2 "${bf16[@]}" --train.out bf16
at 2x2 "${bf16[@]}" --train.out halves --train.steps 5
at 2x2 "${bf16[@]}" --train.out halves --train.resume
same "bf16 at 2x2" bf16 halves 0
for rank in 0 1 2 3; do
  cmp -s {bf16,halves}/checkpoints/step_00000025/rank_0000$rank.safetensors || wrong "bf16 at 2x2: other weights of rank $rank"
done

end
