#!/usr/bin/env bash
# bias_test.sh MUMOE: a correlation planted into features, a head trained on them, and what corrects it, the same on one
# rank and on two; what cannot be asked is one line.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
export MUMOE_CACHE=$folder/cache

python3 "$here/features.py" features 1200 480 8 6
plant=("$mumoe" study bias --plant features --out planted --positive "class 0,class 1" --share 0.1)
quiet "${plant[@]}" --negative "class 2,class 3"
grep -q "planted: 444 samples for training, 320 for validation" stdout || wrong "planted: $(<stdout)"
refused "no such class" "no class class 9" "${plant[@]}" --negative "class 2,class 9"
refused "no pair" "--negative class 2: expected two classes" "${plant[@]}" --negative "class 2"
quiet "${plant[@]}" --negative "class 2,class 3"
cat >head.cfg <<'CONFIG'
[model]
family = head
head = cp
experts = 8
rank = 6
gate_norm = batch
[data]
source = planted
[train]
steps = 60
batch = 32
precision = fp32
gemm = mkl
[optimizer]
lr = 2e-2
CONFIG
quiet "$mumoe" train --config head.cfg --train.out run
bias=("$mumoe" study bias --run run --group group)
quiet "${bias[@]}" --json one.json
grep -q "^random experts" stdout || wrong "the table: $(<stdout)"
quiet "$mpirun" -n 2 "${bias[@]}" --json two.json
python3 - <<'PYTHON' || wrong "what corrects it"
import json
one, two = (json.load(open(f"{name}.json")) for name in ("one", "two"))
def rounded(value):
    if isinstance(value, float): return round(value, 9)
    if isinstance(value, list): return [rounded(v) for v in value]
    if isinstance(value, dict): return {k: rounded(v) for k, v in value.items()}
    return value
assert rounded(one) == rounded(two), "two ranks say other figures"
names = [t["technique"] for t in one["techniques"]]
assert names == ["none", "oversampling", "blind", "adversarial", "expert", "random experts"], names
figures = {t["technique"]: t for t in one["techniques"]}
assert sum(one["trained"]) == 444 and one["trained"][3] * 9 <= one["trained"][2] <= one["trained"][3] * 11, one["trained"]
for technique in one["techniques"]:
    for name in ("opportunity", "deviation", "worst", "subpopulation", "accuracy"):
        figure = technique[name]
        assert 0 <= figure["value"] <= 1 and figure["interval"][0] <= figure["interval"][1], technique
assert figures["none"]["lambda"] is None and figures["expert"]["lambda"] is not None
PYTHON
quiet "${bias[@]}" --retrain no --lambda 0 --json zero.json
python3 - <<'PYTHON' || wrong "a correction of nothing"
import json
found = json.load(open("zero.json"))["techniques"]
assert [t["technique"] for t in found] == ["none", "blind", "expert", "random experts"]
assert all(abs(t["accuracy"]["value"] - found[0]["accuracy"]["value"]) < 1e-12 for t in found), found
PYTHON
refused "no group" "--group ATTRIBUTE is missing" "$mumoe" study bias --run run
refused "another group" "--group = Male: no such attribute" "$mumoe" study bias --run run --group Male
refused "no such target" "--target ship: expected one of the 2 classes" "${bias[@]}" --target ship
refused "no subgroup" "--subpopulation 2,1: expected" "${bias[@]}" --subpopulation 2,1
refused "no figure" "--choose best: expected one of" "${bias[@]}" --choose best
end
