#!/usr/bin/env bash
# report_test.sh MUMOE: what can be watched of a run, and what is told of it: figures of experts, mumoe report, event files
# as TensorBoard's own reader finds them, Prometheus's text.
set -euo pipefail
mumoe=$(realpath "$1")
scripts=$(realpath "$(dirname "$0")")
root=$(realpath "$scripts/../../..")

# TensorBoard's reader, fetched once into the cache folder.
cache=${MUMOE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mumoe}
reader=$cache/tensorboard-2.21.0
if [[ ! -d $reader ]]; then
  fetched=$(mktemp -d "$cache/.wheels.XXXXXX")
  pip=(python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes)
  help=$(python3 -m pip install --help)
  if [[ $help == *--break-system-packages* ]]; then pip+=(--break-system-packages); fi
  PIP_ROOT_USER_ACTION=ignore PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 timeout 200 "${pip[@]}" --only-binary=:all: \
    --python-version 3.11 --target "$fetched" -r "$scripts/tensorboard.txt" </dev/null
  mv -T "$fetched" "$reader" || [[ -d $reader ]]
fi

# shellcheck source=tests/launch/scripts/tiny_model.sh
source "$scripts/tiny_model.sh" 2 8
cat >>tiny.cfg <<CONFIG
tokenizer = bytes
[train]
batch = 4
precision = fp32
gemm = mkl
eval_every = 3
eval_windows = 2
[schedule]
steps = 12
warmup = 2
[log]
every = 3
experts = 3
experts_line = yes
sample = 12
CONFIG
watched=(--log.tensorboard yes --log.prometheus run.prom)
train=("$root/launch/mpirun" -n 2 "$mumoe" train --config tiny.cfg)

# ---- While it trains
quiet "${train[@]}" --train.out run --train.steps 6 "${watched[@]}"
grep -qE '^step 3/6 .*\| experts [0-9.]+% active, [0-9]+ dead, [0-9.]+ effective$' stdout || wrong "no experts: $(<stdout)"
grep -q '^mumoe_step{run="run"} 6$' run.prom || wrong "prometheus: $(<run.prom)"
grep -q '^mumoe_dead_experts{run="run",layer="h.1.mlp"} ' run.prom || wrong "prometheus: $(<run.prom)"
grep -q '^mumoe_validation_loss{run="run"} [0-9.]*$' run.prom || wrong "prometheus: $(<run.prom)"

# A run that has lost steps writes them again, once.
cp -r run before
cp -r run killed
rm -r killed/checkpoints/step_00000006
quiet "${train[@]}" --train.out killed --train.steps 6 --checkpoint.every 3 "${watched[@]}" --train.resume auto
quiet "${train[@]}" --train.out run --train.steps 12 "${watched[@]}" --train.resume
printf '{"step":13,"lo' >>run/metrics.jsonl

# ---- What is told of it
quiet "$mumoe" report run --json facts.json --tensorboard boards
[[ -s run/report/report.html && -s run/report/experts_layer.png ]] || wrong "no page: $(ls run/report)"
grep -q '^page     run/report/report.html$' stdout || wrong "report: $(<stdout)"
grep -q 'h.1.mlp' stdout || wrong "report: no layers: $(<stdout)"
quiet "$mumoe" report run before --out both
grep -q 'before' both/report.html || wrong "no comparison"

events() { PYTHONPATH=$reader timeout 60 python3 "$scripts/read_events.py" "$1" >"$2" || wrong "$1: TensorBoard cannot read it"; }
events run run.json
events boards/run boards.json
events killed killed.json
python3 - <<'PYTHON' || wrong "what TensorBoard finds is not what the run said"
import json, re
def lines(run):
    steps = {}
    for line in open(run + "/metrics.jsonl"):
        if line.endswith("\n") and '"event"' not in line:
            steps[json.loads(line)["step"]] = json.loads(line)
    return steps
said = lines("run")
assert sorted(said) == list(range(1, 13)), sorted(said)
for name in ("run.json", "boards.json"):
    scalars = json.load(open(name))["scalars"]
    for tag, member in (("loss/train", "loss"), ("lr", "lr"), ("grad_norm", "grad_norm"), ("tokens", "tokens"),
                        ("experts/active", "active_share"), ("elapsed_s", "elapsed_s")):
        found = scalars[tag]
        assert [step for step, _ in found] == list(range(1, 13)), (name, tag, found)
        for step, value in found:
            assert abs(value - said[step][member]) <= 1e-6 * abs(said[step][member]), (name, tag, step, value)
    found = scalars["loss/validation"]
    assert [step for step, _ in found] == [3, 6, 9, 12], (name, found)
    for step, value in found:
        assert abs(value - said[step]["val_loss"]) < 1e-5, (name, step, value)
    for gate, layer in enumerate(("h.0.mlp", "h.1.mlp")):
        for tag in ("active", "dead", "idle", "entropy", "effective"):
            found = scalars[f"experts/{layer}/{tag}"]
            assert [step for step, _ in found] == [3, 6, 9, 12], (name, tag, found)
            for step, value in found:
                assert abs(value - said[step]["experts"][gate][tag]) < 1e-5, (name, layer, tag, step, value)
run = json.load(open("run.json"))
tokens = 4 * 16
for step, num, buckets, _ in run["histograms"]["experts/h.0.mlp/largest"]:
    assert num == buckets == tokens, (step, num, buckets)
for step, num, buckets, load in run["histograms"]["experts/h.0.mlp/load"]:
    assert num == buckets == 6 and abs(load - 6) < 1e-5, (step, num, load)
for name in ("run.json", "boards.json"):
    texts = json.load(open(name))["texts"]["sample"]
    assert [step for step, _ in texts] == [3, 6, 9, 12] and all(len(t) > 4 for _, t in texts), texts
killed = json.load(open("killed.json"))["scalars"]
assert [step for step, _ in killed["loss/train"]] == list(range(1, 7)), killed["loss/train"]
facts = json.load(open("facts.json"))["runs"][0]
assert facts["summary"]["steps"] == 12 and facts["summary"]["resumes"] == 1 and facts["summary"]["growing"], facts["summary"]
assert facts["summary"]["loss"] > 0 and len(facts["curves"]["loss"]["x"]) == 12
assert [e["layer"] for e in facts["experts"]["gates"]] == ["h.0.mlp", "h.1.mlp"]
page = open("run/report/report.html").read()
assert "resumed" in page and not re.search(r"https?://|<script|<link|@import|url\(", page), "the page asks for more"
PYTHON

# ---- Bad input is a line
mkdir empty
refused "no run" "mumoe report: RUN is missing" "$mumoe" report
refused "two runs" "--out FOLDER is missing" "$mumoe" report run before
refused "no folder" "nowhere: no such folder" "$mumoe" report nowhere
refused "no run directory" "empty: has no metrics.jsonl" "$mumoe" report empty
cp -r before newer
printf '[model]\nfuture = 3\n' >newer/config.cfg
refused "another version" "newer/config.cfg:2: unknown key model.future" "$mumoe" report newer
echo 'loss 3' >>before/metrics.jsonl
refused "no JSON" "before/metrics.jsonl:" "$mumoe" report before
refused "ranks" "mumoe report: 2 ranks were started" "$root/launch/mpirun" -n 2 "$mumoe" report run
refused "events of no folder" "train.out is none" "$mumoe" train --config tiny.cfg --train.out none --train.steps 1 --log.tensorboard yes
refused "experts" "log.experts = -1: expected at least 0" "$mumoe" train --config tiny.cfg --log.experts -1

end
