#!/usr/bin/env bash
# weights_test.sh MUMOE: weights out of a run and into others: mumoe convert, train.from, checkpoint.best.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[train]
steps = 4
batch = 4
eval_windows = 4
precision = fp32
gemm = mkl
CONFIG
train=("$mumoe" train --config tiny.cfg)
# losses FOLDER: of every step, with all digits.
losses() { grep -o '"loss":[^,]*' "$1/metrics.jsonl"; }
text() { "$mumoe" sample --run "$1" --tokens 24 --temperature 0 "${@:2}" 2>/dev/null </dev/null; }
said() { grep -qF -- "$1" stdout || wrong "expected '$1' in: $(<stdout)"; }

# Dense MLPs go to transformers' form and back, with nothing lost.
quiet "${train[@]}" --train.out dense --model.mlp dense --model.bias yes
quiet "$mumoe" convert --from dense --to hf
said "from  dense: run, "
said "to    hf: hf, "
grep -q '"activation_function": "gelu"' hf/config.json || wrong "config.json: $(<hf/config.json)"
quiet "$mumoe" convert --from hf --to back --tokenizer bytes
said "from  hf: hf, 16 tensors"
[[ $(text dense) == "$(text back)" ]] || wrong "another text: $(text dense), $(text back)"
quiet "$mumoe" convert --from back --to again --as hf
cmp hf/model.safetensors again/model.safetensors || wrong "not the same after a way there and back"

# Mixtures go by the names of the layer's authors.
quiet "${train[@]}" --train.out mixture
quiet "$mumoe" convert --from mixture --to mixture.safetensors
said "to    mixture.safetensors: mumoe, "
quiet "$mumoe" convert --from mixture.safetensors --to twin
[[ $(text mixture) == "$(text twin)" ]] || wrong "another text of a mixture"

# A run begins with them, whatever they lie in, on any number of ranks; the same steps follow.
fine=("${train[@]}" --train.seed 5)
quiet "${fine[@]}" --train.steps 3 --train.out fine --train.from mixture
said "weights from mixture: run, mixture/checkpoints/step_00000004; the optimizer begins anew"
grep -q '"weights_from": "mixture"' fine/provenance.json || wrong "provenance: $(<fine/provenance.json)"
quiet "${fine[@]}" --train.steps 3 --train.out fine_file --train.from mixture.safetensors
quiet "$mpirun" -n 2 "${fine[@]}" --train.steps 3 --train.out fine_ranks --train.from mixture.safetensors
[[ $(losses fine) == "$(losses fine_file)" ]] || wrong "other losses: $(losses fine) $(losses fine_file)"
first=$(losses fine | head -n 1 | cut -c -14)
[[ $(losses fine_ranks | head -n 1) == "$first"* ]] || wrong "two ranks: $(losses fine_ranks), one: $first"
begun=$(losses mixture | head -n 1)
[[ $(losses fine | head -n 1) != "$begun" ]] || wrong "begins as a run without weights does: $begun"
# One that goes on has its own, and needs no others.
mv mixture mixture.gone
quiet "${fine[@]}" --train.out fine --train.steps 5 --schedule.steps 3 --train.from mixture --train.resume
said "resumed after step 3 from fine/checkpoints/step_00000003"
mv mixture.gone mixture

# What does not fit is one line, and nothing is written.
refused "other width" "train.from = mixture: model.width is 16 there, but model.width = 32 here" \
  "${train[@]}" --train.out bad --train.from mixture --model.width 32
refused "dense for a mixture" "train.from = dense: holds weights of dense MLPs, model.mlp = cp: no factors of a mixture" \
  "${train[@]}" --train.out bad --train.from dense
refused "none" "no_such: is not there" "${train[@]}" --train.out bad --train.from no_such
refused "converted" "step_00000000 holds weights alone, of no run; expected --train.from twin" \
  "${train[@]}" --train.out twin --train.resume --train.steps 9
refused "nowhere" "mumoe convert: --to FILE_OR_FOLDER is missing" "$mumoe" convert --from mixture
refused "format" "--as gguf: expected one of: run, hf, nanogpt, mumoe, llmc, timm" \
  "$mumoe" convert --from mixture --to x --as gguf
refused "dtype" "--dtype int8: expected fp32, bf16, fp16 or fp64" "$mumoe" convert --from mixture --to x --dtype int8
head -c 700 mixture.safetensors >cut.safetensors
refused "truncated" "cut.safetensors: " "$mumoe" convert --from cut.safetensors --to x
[[ ! -e bad && ! -e x ]] || wrong "written: $(ls -d bad x)"

# The best checkpoint is that of the lowest validation loss, and outlives all others.
best=(--schedule.steps 8 --train.eval_every 2 --checkpoint.best yes --checkpoint.keep 1 --optimizer.lr 0.6 --schedule.kind constant
  --schedule.warmup 0 --optimizer.clip 0)
lowest() { sed -n 's/.*"step":\([0-9]*\),.*"val_loss":\([0-9.e+-]*\)}.*/\2 \1/p' best/metrics.jsonl | sort -g | head -n 1; }
steps=8
quiet "${train[@]}" --train.out best "${best[@]}" --train.steps $steps
said "the newest 1 kept, and the best by validation"
step=$(lowest)
step=${step#* }
# With such a rate losses go up and down: on, until the last one is not the best.
while [[ $step == "$steps" ]] && ((steps < 80)); do
  ((steps += 2))
  quiet "${train[@]}" --train.out best "${best[@]}" --train.steps $steps --train.resume
  step=$(lowest)
  step=${step#* }
done
[[ $step != "$steps" ]] || wrong "the last step is the best one, which proves nothing: $(<best/metrics.jsonl)"
grep -qF "{\"step\":$step,\"val_loss\":" best/checkpoints/best/val_loss.json ||
  wrong "lowest at $step: $(<best/checkpoints/best/val_loss.json)"
[[ $(ls -I latest best/checkpoints) == $(printf 'best\nstep_%08d' $steps) ]] || wrong "kept: $(ls best/checkpoints)"
text best --checkpoint best >best.text
text best >last.text
cmp -s best.text last.text && wrong "--checkpoint best is the last: $(<best.text)"
best_loss=$(sed -n 's/.*"val_loss":\([0-9.e+-]*\).*/\1/p' best/checkpoints/best/val_loss.json)
quiet "$mumoe" eval --run best --checkpoint best --windows "$(sed -n 's/^eval_windows *= *//p' best/config.cfg)" --json eval.json
python3 - "$best_loss" "$step" <<'PYTHON' || wrong "eval --checkpoint best: expected $best_loss of step $step: $(<eval.json)"
import json, sys
found = json.load(open("eval.json"))
sys.exit(not (abs(found["text"]["loss"] - float(sys.argv[1])) < 1e-6 * float(sys.argv[1]) and found["step"] == int(sys.argv[2])))
PYTHON
refused "no such step, to evaluate" "best: holds no checkpoint 3" "$mumoe" eval --run best --checkpoint 3
refused "no such step" "best: holds no checkpoint 3" "$mumoe" sample --run best --checkpoint 3
refused "no such word" "--checkpoint worst: expected best or the number of a step" \
  "$mumoe" sample --run best --checkpoint worst
# A run that was stopped knows its best one.
for part in 4 6 $steps; do
  resume=(); ((part == 4)) || resume=(--train.resume)
  quiet "${train[@]}" --train.out parts "${best[@]}" --train.steps $part "${resume[@]}"
done
cmp best/checkpoints/best/rank_00000.safetensors parts/checkpoints/best/rank_00000.safetensors ||
  wrong "another best after stops: $(<parts/checkpoints/best/val_loss.json)"
# A crash between its state and its loss: the loss is that of another step, and the next evaluation is the best.
sed -i 's/"step":[0-9]*/"step":7/' parts/checkpoints/best/val_loss.json
quiet "${train[@]}" --train.out parts "${best[@]}" --train.steps $((steps + 2)) --train.resume
grep -q "\"step\":\($steps\|$((steps + 2))\)," parts/checkpoints/best/val_loss.json || wrong "$(<parts/checkpoints/best/val_loss.json)"
# Nothing is written through a link of somebody's.
mkdir -p linked/checkpoints mine
ln -s "$folder/mine" linked/checkpoints/best
refused "a link" "linked/checkpoints/best: is in the place of the best checkpoint and no folder" \
  "${train[@]}" --train.out linked "${best[@]}" --train.steps 8
[[ -z $(ls mine) ]] || wrong "written through a link: $(ls mine)"
end
