#!/usr/bin/env bash
# features_test.sh MUMOE: features of images, made once by a frozen model, and heads that are trained on them, on any
# number of ranks; what does not fit is one line and exit code 2.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
export MUMOE_CACHE=$folder/cache

# 90 images of 8 x 8 for training and 31 for validation: a bright row, which is their class of 3, in noise.
python3 - <<'PYTHON'
import os, random, struct
random.seed(1)
os.mkdir("images")
for name, count in (("train", 90), ("t10k", 31)):
    # As many of class 0 as of the others together.
    labels = bytes(i % 4 % 3 for i in range(count))
    pixels = bytes(200 if row == 2 * label + 1 else random.randrange(90) for label in labels for row in range(8) for _ in range(8))
    with open(f"images/{name}-images-idx3-ubyte", "wb") as out:
        out.write(struct.pack(">4BIII", 0, 0, 8, 3, count, 8, 8) + pixels)
    with open(f"images/{name}-labels-idx1-ubyte", "wb") as out:
        out.write(struct.pack(">4BI", 0, 0, 8, 1, count) + labels)
PYTHON
cat >mixer.cfg <<'CONFIG'
[model]
family = mixer
mlp = dense
depth = 1
width = 12
patch = 4
bias = yes
[data]
source = images
[train]
steps = 6
batch = 8
precision = fp32
gemm = mkl
CONFIG
quiet "$mumoe" train --config mixer.cfg --train.out backbone

features=("$mumoe" data --data.source images --features backbone)
quiet "${features[@]}" --images 60,15 --out features
grep -q "12 features of 60 and 15 images of images, 3 classes" stdout || wrong "making features: $(<stdout)"
quiet "$mumoe" data --data.source features
grep -q "12 features by MLP-Mixer" stdout || wrong "features looked at: $(<stdout)"
python3 - <<'PYTHON' || wrong "the features"
import json, struct
facts = json.load(open("features/features.json"))
assert (facts["width"], facts["classes"], facts["image_size"], facts["train"]["of_images"]) == (12, 3, 8, 90), facts
data = open("features/train.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
head = json.loads(data[8:8 + size])
def column(name):
    begin, end = head[name]["data_offsets"]
    return struct.unpack(f"<{(end - begin) // 8}q", data[8 + size + begin:8 + size + end])
index, labels = column("index"), column("labels")
assert list(index) == sorted(set(index)) and labels == tuple(i % 4 % 3 for i in index), (index, labels)
assert [labels.count(c) for c in range(3)] == [20, 20, 20] or sorted(labels.count(c) for c in range(3)) == [15, 22, 23], labels
PYTHON

# A head: the same losses on one rank and two, cut or not; it goes on, and is evaluated.
cat >head.cfg <<'CONFIG'
[model]
family = head
head = cp
experts = 4
gate_norm = batch
rank = 3
[data]
source = features
[optimizer]
lr = 3e-2
[schedule]
steps = 60
[train]
steps = 40
batch = 20
precision = fp64
gemm = mkl
eval_windows = 15
[checkpoint]
every = 40
CONFIG
head=(train --config head.cfg)
losses() { python3 -c 'import json, sys; print(*("%.10g" % step["loss"] for step in map(json.loads, open(sys.argv[1] + "/metrics.jsonl")) if "loss" in step))' "$1"; }
quiet "$mumoe" "${head[@]}" --train.out one
[[ $(losses one | wc -w) == 40 ]] || wrong "40 steps: $(losses one)"
grep -q "a cp head of 4 experts, rank 3 for 3 classes on 12 features" stdout || wrong "the start: $(<stdout)"
quiet "$mpirun" -n 2 "$mumoe" "${head[@]}" --train.out dp
[[ $(losses one) == "$(losses dp)" ]] || wrong "dp: $(losses dp), expected $(losses one)"
for plan in sequence rank; do
  quiet "$mpirun" -n 2 "$mumoe" "${head[@]}" --parallel.tp 2 --parallel.plan $plan --train.out tp_$plan
  [[ $(losses one) == "$(losses tp_$plan)" ]] || wrong "$plan: $(losses tp_$plan), expected $(losses one)"
done
quiet "$mumoe" "${head[@]}" --train.out one --train.steps 60 --train.resume
quiet "$mumoe" "${head[@]}" --train.out whole --train.steps 60
[[ $(losses one | wc -w) == 60 && $(losses one) == "$(losses whole)" ]] || wrong "resumed: $(losses one), expected $(losses whole)"
quiet "$mumoe" eval --run whole --json eval.json
python3 -c 'import json; found = json.load(open("eval.json"))["images"]; assert found["top1"] > 0.6 and found["loss"] < 0.7, found' ||
  wrong "what was learnt: $(<eval.json)"
for kind in linear high_rank tr; do
  quiet "$mumoe" "${head[@]}" --model.head $kind --model.rank auto --model.head_parameters 300 --train.steps 2 --train.out none
done
quiet "$mumoe" plan --config head.cfg --train.precision bf16 --machine a100-80g --rows 1

refused "features for a Mixer" "expected model.family = head" "$mumoe" train --config mixer.cfg --data.source features --train.out none
refused "other classes" "model.classes = 4: the features of features have 3 classes" "$mumoe" "${head[@]}" --model.classes 4 --train.out none
refused "other features" "model.features = 7" "$mumoe" "${head[@]}" --model.features 7 --train.out none
refused "no features" "features images: no features.json there" "$mumoe" "${head[@]}" --data.source images --train.out none
refused "no room for a rank" "model.rank = auto" "$mumoe" "${head[@]}" --model.rank auto --model.head_parameters 60 --train.out none
refused "no place" "--out FOLDER is missing" "${features[@]}"
refused "no backbone" "--features nowhere: no such run" "$mumoe" data --data.source images --features nowhere --out x
refused "a head as backbone" "does not see images" "$mumoe" data --data.source images --features whole --out x
refused "half a subset" "--images 5" "${features[@]}" --out x --images 5
refused "a subset of nothing" "--images: says something of --features" "$mumoe" data --data.source images --images 5,5
cp -r features broken
truncate -s -1 broken/train.safetensors
refused "truncated" "broken/train.safetensors" "$mumoe" "${head[@]}" --data.source broken --train.out none
[[ ! -e x ]] || wrong "what was refused left x"
end
