#!/usr/bin/env bash
# damage_test.sh MUMOE: whatever is damaged in the newest checkpoint is named, and the one before it is taken: a resumed run
# ends with the losses of one that nothing happened to. What else reads a run does the same.
set -euo pipefail

mumoe=$(realpath "$1")
scripts=$(dirname "$(realpath "$0")")
mpirun=$(realpath "$scripts/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$scripts/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 8
warmup = 2
[train]
steps = 8
batch = 8
eval_windows = 8
precision = fp64
gemm = mkl
[checkpoint]
every = 2
minutes = 0
keep = 3
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
sed -i 's/^source = .*/source = tokens/' tiny.cfg
train=(train --config tiny.cfg)
same() { python3 "$scripts/losses.py" "$@" || true; }  # same EXPECTED FOUND [TOLERANCE]: what is not

quiet "$mpirun" -n 2 "$mumoe" "${train[@]}" --train.out whole
quiet "$mpirun" -n 2 "$mumoe" "${train[@]}" --train.out run --train.steps 6
quiet "$mumoe" "${train[@]}" --train.out other --train.steps 6 --train.seed 5
quiet "$mpirun" -n 2 "$mumoe" "${train[@]}" --train.out another --train.steps 6 --train.seed 5
newest=out/checkpoints/step_00000006

# damage "KIND [OTHER]": in a new copy of the run.
damage() {
  rm -rf out
  cp -r run out
  local kind other
  read -r kind other <<<"$1"
  python3 "$scripts/damage.py" "$kind" $newest ${other:+"$other"}
}
# passed_by NAME TEXT FILE: FILE says that TEXT is damaged, and what is taken.
passed_by() {
  local line
  line=$(grep -a 'damaged  ' "$3" || true)
  [[ $line == *"damaged  $2"*"; step_00000004 is taken instead" && $line != *$'\n'* ]] || wrong "$1: '$line' in $3, expected '$2'"
}
# survived KIND TEXT [COMMAND...]: by a run of one rank, or that COMMAND starts.
survived() {
  damage "$1"
  quiet "${@:3}" "$mumoe" "${train[@]}" --train.out out --train.resume
  passed_by "$1" "$2" stdout
  grep -q '^resumed after step 4 from out/checkpoints/step_00000004' stdout || wrong "$1: $(grep ^resumed stdout)"
  local tolerance=1e-10
  if (($# > 2)); then tolerance=0; fi
  local differs
  differs=$(same whole out $tolerance)
  [[ ! $differs ]] || wrong "$1: $differs"
  [[ $(echo out/checkpoints/step_*) == *step_00000004*step_00000006*step_00000008 ]] || wrong "$1: left $(ls out/checkpoints)"
}

# ---- Files of ranks. Those that have their size are found when they are read, with the tensor.
file=$newest/rank_00000.safetensors
for percent in 30 55 90 99.99; do
  survived flipped$percent "$file: master."
done
survived header "$file: master."
survived length "$file: master."
survived truncated "$file: "
survived longer "$file: "
survived missing "$file: No such file or directory"
survived empty "$file: 0 bytes, of "
survived folder "$file: not a regular file"
survived flipped55 "$file: master." "$mpirun" -n 2
survived empty "$file: 0 bytes, of " "$mpirun" -n 2

# ---- The manifest
manifest=$newest/manifest.json
survived manifest-truncated "$manifest is not JSON"
survived manifest-empty "$manifest is not JSON"
survived manifest-missing "$manifest: cannot read: No such file or directory"
survived manifest-nested "$manifest is not JSON"
survived overlap "$manifest: tensors "
survived twice "$manifest: tensor "
survived outside "$manifest: tensor "
survived "manifest run/checkpoints/step_00000004" "$newest: holds the state after step 4; expected it under the name step_00000004"
# Of runs with other settings: one of another layout, one whose files are as long.
survived "manifest other/checkpoints/step_00000006" "$file: "
survived "manifest another/checkpoints/step_00000006" "$file: "
survived "manifest another/checkpoints/step_00000006" "$file: " "$mpirun" -n 2
survived "manifest whole/checkpoints/step_00000008" "$newest: holds the state after step 8"
# Settings that somebody has changed are no damage.
rm -rf out
cp -r run out
refused "other settings" "train.seed is 6, but the run in $newest has 0" "$mumoe" "${train[@]}" --train.out out --train.resume --train.seed 6

# ---- What else reads a run
reads() {  # reads TEXT: its newest checkpoint
  quiet "$mumoe" sample --run out --tokens 2
  passed_by "sample of $kind" "$1" stderr
  quiet "$mumoe" eval --run out --windows 2
  passed_by "eval of $kind" "$1" stderr
  grep -q '^run *out, step 4' stdout || wrong "eval of $kind: $(grep ^run stdout)"
  rm -rf to
  quiet "$mumoe" convert --from out --to to
  passed_by "convert of $kind" "$1" stdout
  quiet "$mumoe" "${train[@]}" --train.from out --train.out none --train.steps 1 --checkpoint.every 0
  passed_by "train.from $kind" "$1" stdout
}
kind=flipped90
damage "$kind"
reads "$file: "
for command in "sample --tokens 2" eval; do
  # shellcheck disable=SC2086  # words
  refused "$command" "$file: " "$mumoe" $command --run out --checkpoint 6
done
refused "convert" "$file: " "$mumoe" convert --from $newest --to converted
refused "train.from" "$file: " "$mumoe" "${train[@]}" --train.from $newest --train.out refused
[[ ! -e refused && ! $(find . -path './converted*' -type f) ]] || wrong "wrote $(find refused converted)"
kind='manifest-truncated'
damage "$kind"
reads "$manifest "

# ---- All of them
damage flipped30
python3 "$scripts/damage.py" manifest-empty out/checkpoints/step_00000004
python3 "$scripts/damage.py" flipped90 out/checkpoints/step_00000002
before=$(find out -type f -exec cksum {} + | sort)
for start in "" "$mpirun -n 2"; do
  # shellcheck disable=SC2086  # words
  refused "all damaged" "$file: master." $start "$mumoe" "${train[@]}" --train.out out --train.resume
  grep -q 'none of the 2 others is whole' stderr || wrong "all damaged: $(<stderr)"
done
refused "all damaged, auto" "$file: master." "$mumoe" "${train[@]}" --train.out out --train.resume auto
refused "sample of all damaged" "$file: master." "$mumoe" sample --run out --tokens 2
refused "eval of all damaged" "$file: master." "$mumoe" eval --run out
refused "convert of all damaged" "$file: master." "$mumoe" convert --from out --to converted
[[ $(find out -type f -exec cksum {} + | sort) == "$before" && ! $(find . -path './converted*' -type f) ]] || wrong "all damaged: something was written"

end
