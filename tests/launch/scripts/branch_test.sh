#!/usr/bin/env bash
# branch_test.sh MUMOE: several budgets of one stable run (schedule.kind = wsd): branches into folders of their own end as
# runs that had their schedules from the beginning; what is no branch is one line.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
losses=$(realpath "$(dirname "$0")/losses.py")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16

cat >>tiny.cfg <<'CONFIG'
[optimizer]
lr = 0.01
[schedule]
kind = wsd
warmup = 2
[train]
steps = 20
batch = 4
eval_windows = 4
precision = fp32
gemm = mkl
[checkpoint]
every = 6
keep = 9
CONFIG
train=("$mumoe" train --config tiny.cfg)
said() { grep -qE -- "$2" stdout || wrong "$1: expected '$2' in: $(<stdout)"; }
sums() { find stable -type f ! -name .lock -exec cksum {} + | sort -k 3; }
# ends_as WHOLE BRANCH STEP: from behind STEP on the branch has the samples and losses of the whole run, to the bit.
ends_as() {
  mkdir -p rest
  tail -n +$(($3 + 1)) "$1/metrics.jsonl" >rest/metrics.jsonl
  python3 "$losses" rest "$2" >different || wrong "$2: $(<different)"
  [[ $(tail -n 1 "$1/metrics.jsonl" | grep -o '"val_loss":[^,}]*') == \
     $(tail -n 1 "$2/metrics.jsonl" | grep -o '"val_loss":[^,}]*') ]] || wrong "$2: another validation loss"
}

# Two budgets of one stable run, which stays as it is: by its own settings, or by a file; a new length is all they need.
quiet "${train[@]}" --train.out stable --train.steps 12 --schedule.steps 100
before=$(sums)
for steps in 10 16; do
  from=$((steps < 15 ? 6 : 12))
  quiet "${train[@]}" --train.out whole$steps --train.steps $steps
  quiet "$mumoe" train --train.out branch$steps --train.branch stable/checkpoints/step_000000"$(printf %02d "$from")" \
    --train.steps $steps
  said "branch $steps" "^config   stable/config.cfg$"
  said "branch $steps" "^branched after step $from from stable/checkpoints/step_000000"
  ends_as whole$steps branch$steps $from
done
grep -q '"branch_of": "stable/checkpoints/step_00000012"' branch16/provenance.json || wrong "$(<branch16/provenance.json)"
[[ $(grep -c . branch16/metrics.jsonl) == 4 && $(sums) == "$before" ]] || wrong "the stable run changed, or a branch has its steps"
quiet "${train[@]}" --train.out by_file --train.branch stable --train.steps 16  # its newest
ends_as whole16 by_file 12
# In a folder that says what it branched from.
quiet "$mumoe" train --train.branch stable --train.steps 14
said "numbered" "run directory runs/stable-branch-1$"
# On two ranks.
quiet "$mpirun" -n 2 "${train[@]}" --train.out whole_2 --train.steps 16
quiet "$mpirun" -n 2 "${train[@]}" --train.out stable_2 --train.steps 12 --schedule.steps 100
quiet "$mpirun" -n 2 "$mumoe" train --train.out branch_2 --train.branch stable_2 --train.steps 16
ends_as whole_2 branch_2 12

# A branch that was stopped goes on in its own folder, by its own settings, whatever became of the stable run.
quiet "${train[@]}" --train.out part --train.branch stable/checkpoints/step_00000006 --train.steps 8 --schedule.steps 10
mv stable stable.gone
quiet "$mumoe" train --train.out part --train.resume --train.steps 10
said "resumed" "^resumed after step 8 from part/checkpoints/step_00000008$"
ends_as whole10 part 6
mv stable.gone stable
# auto: the same command branches, and then goes on.
always=("${train[@]}" --train.out always --train.branch stable/checkpoints/step_00000006 --train.steps 10 --train.resume auto)
quiet "${always[@]}"
said "auto branches" "^branched after step 6 "
quiet "${always[@]}"
said "auto goes on" "^resumed after step 10 .*: no step is left"
ends_as whole10 always 6

# What had other rates so far, or differs otherwise, is no branch; nothing is written.
quiet "${train[@]}" --train.out cosine --train.steps 12 --schedule.kind cosine
refused "a cosine" "--train.branch: step 4 had the learning rate 0.00" "${train[@]}" --train.out no --train.branch cosine
refused "too late" "--train.branch: step 12 had the learning rate 0.01 in stable/checkpoints/step_00000012, " \
  "${train[@]}" --train.out no --train.branch stable --train.steps 14 --schedule.decay 4
refused "another rate" "--train.branch: optimizer.lr is 0.02, but the run in stable/checkpoints/step_00000012 has 0.01" \
  "${train[@]}" --train.out no --train.branch stable --optimizer.lr 0.02
refused "another model" "--train.branch: model.width is 32, but the run in" \
  "${train[@]}" --train.out no --train.branch stable --model.width 32
refused "weights beside" "train.branch = stable: goes on with the weights of that run; expected no train.from = stable" \
  "${train[@]}" --train.out no --train.branch stable --train.from stable
refused "not there" "train.branch = nowhere: is not there; expected a checkpoint, or a run" \
  "${train[@]}" --train.out no --train.branch nowhere
refused "no run" "corpus: is neither a run directory nor a checkpoint" "${train[@]}" --train.out no --train.branch corpus
refused "no settings" "--train.branch nowhere: the config.cfg of its run is not there" \
  "$mumoe" train --train.out no --train.branch nowhere
refused "its own folder" "train.out = stable: holds a run with checkpoints" \
  "${train[@]}" --train.out stable --train.branch stable --train.steps 16
cp -r stable/checkpoints/step_00000012 cut
truncate -s -9 cut/rank_00000.safetensors
refused "damaged" "cut/rank_00000.safetensors" "${train[@]}" --train.out no --train.branch cut --train.steps 16
[[ ! -e no ]] || wrong "a refused branch made its folder"
[[ $(sums) == "$before" ]] || wrong "the stable run changed"
# Unless it is forced: then it goes on from there with what it says.
quiet "${train[@]}" --train.out forced --train.branch cosine --train.steps 14 --train.force schedule.kind
# Fewer steps than there are: none is left, and that is no signal's doing; neither of a branch nor of a resumed run.
quiet "${train[@]}" --train.out fewer --train.branch stable --train.steps 8 --schedule.steps 100
said "fewer steps" "^branched after step 12 .*: no step is left of train.steps = 8$"
said "fewer steps" "^done: 12 steps, validation loss"
quiet "$mumoe" train --train.out fewer --train.resume --train.steps 8
said "fewer steps again" "^done: 12 steps, validation loss"

end
