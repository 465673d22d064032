#!/usr/bin/env bash
# specialise_test.sh MUMOE: what taking out each expert of a head does, in one pass and by as many evaluations, the same
# on any number of ranks; a study of heads that is interrupted and goes on; what cannot be asked is one line.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
export MUMOE_CACHE=$folder/cache

python3 "$here/features.py" features
cat >head.cfg <<'CONFIG'
[model]
family = head
head = cp
experts = 5
rank = 4
gate_norm = batch
[data]
source = features
[train]
steps = 60
batch = 24
precision = fp32
gemm = mkl
[optimizer]
lr = 2e-2
CONFIG
quiet "$mumoe" train --config head.cfg --train.out run

specialise=("$mumoe" study specialise --run run)
quiet "${specialise[@]}" --check yes --json one.json
grep -q "600 predictions in one pass" stdout || wrong "the table: $(<stdout)"
quiet "$mpirun" -n 2 "${specialise[@]}" --json two.json
quiet "$mpirun" -n 2 "${specialise[@]}" --parallel.tp 2 --json cut.json
python3 - <<'PYTHON' || wrong "what removals do"
import json, math
one, two, cut = (json.load(open(f"{name}.json")) for name in ("one", "two", "cut"))
gate = one["gates"][0]
check = gate.pop("check")
assert check["predictions"] == 5 * 120 and check["differing"] == 0, check
assert check["largest_logit_difference"] < 1e-12, check
assert gate["one_pass"] and one["precision"] == "fp64"
assert one == two, "two ranks say other figures"
assert one == cut, "two ranks of a tensor-parallel group say other figures"
assert gate["score"] > 0.5, gate["score"]
# The measure again, from accuracies of classes.
values = []
for expert, said in enumerate(gate["by_expert"]):
    rest = gate["class_scores_without"][6 * expert:6 * expert + 6]
    d = [abs(a - b) / t for a, b, t in zip(gate["class_scores"], rest, gate["targets"])]
    assert abs(sum(rest) / 120 - said["score_without"]) < 1e-12
    if sum(d) == 0:
        assert said["polysemanticity"] is None
        continue
    top = d.index(max(d))
    p = math.sqrt(sum((x / sum(d) - (c == top)) ** 2 for c, x in enumerate(d)))
    assert said["top_class"] == top and abs(p - said["polysemanticity"]) < 1e-12, (p, said)
    values.append(p)
assert abs(sum(values) / len(values) - gate["polysemanticity"]) < 1e-12
assert gate["skipped"] == 5 - len(values)
PYTHON

quiet "$mumoe" train --config head.cfg --model.head linear --train.out linear
refused "no experts" "its model has no experts (model.head = linear or high_rank)" "$mumoe" study specialise --run linear
refused "no gate" "--gate other: expected all, or one of head" "${specialise[@]}" --gate other
refused "no such damage" "--damage loss: expected change or drop" "${specialise[@]}" --damage loss
python3 "$here/features.py" others 60 30 12 4
refused "other classes" "model.classes = 6: the features of others have 4" "${specialise[@]}" --data others
refused "a run and a study" "--run: is of a run" "${specialise[@]}" --study heads.json --out heads
refused "no such run" "no-run" "$mumoe" study specialise --run no-run

cat >heads.json <<'JSON'
{"config": "head.cfg", "settings": {"train.steps": 20}, "features": "features", "experts": [3, 6], "rank": 4,
 "gates": "entmax15", "beside": "linear", "layout": {"dp": 2}}
JSON
study=("$mumoe" study specialise --study heads.json --out heads)
quiet "${study[@]}" --dry-run yes
grep -q "cp-3-entmax15-batch/seed-1: .*--model.head_parameters" stdout || wrong "what would be run: $(<stdout)"
"${study[@]}" >first 2>&1 </dev/null &
while ! grep -q "2/3" first; do sleep 0.1; kill -0 $! 2>/dev/null || break; done
kill -TERM $! 2>/dev/null || true
code=0
wait $! || code=$?
((code == 3)) || ((code == 0)) || wrong "interrupted: code $code: $(<first)"
quiet "${study[@]}"
grep -qE "cp-6-entmax15-batch .*[0-9]" stdout || wrong "its table: $(<stdout)"
python3 - <<'PYTHON' || wrong "its results"
import json
lines = [json.loads(line) for line in open("heads/results.jsonl")]
assert [line["run"].split("/")[0] for line in lines] == ["linear", "cp-3-entmax15-batch", "cp-6-entmax15-batch"], lines
for line in lines:
    assert line["failed"] == "" and 0 < line["accuracy"] <= 1, line
    assert (line["polysemanticity"] is None) == (line["head"] == "linear"), line
    assert line["parameters"] <= 12 * 6 + 4 * (6 + 13 + 6)
PYTHON
[[ -s heads/report.html && -s heads/polysemanticity.png ]] || wrong "no report"
[[ ! -e heads/runs/linear/seed-1/checkpoints ]] || wrong "checkpoints are kept"
echo '{"experts": [3], "rank": 2, "features": "nothing"}' >bad.json
refused "no features" "bad.json: " "$mumoe" study specialise --study bad.json --out bad
end
