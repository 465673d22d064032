#!/usr/bin/env bash
# scale_test.sh MUMOE: mumoe scale measures a study of dense and CP, weak and strong, on 1 and 2 ranks; stopped in the middle
# it goes on, measures nothing twice and loses nothing; a run that fails is named and tried again; what is wrong in a study
# is a line.
set -euo pipefail

mumoe=$(realpath "$1")
scripts=$(realpath "$(dirname "$0")/../../../launch")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[train]
batch = 4
precision = fp32
gemm = mkl
CONFIG
cat >study.json <<'JSON'
{"name": "tiny", "config": "tiny.cfg", "steps": 3, "skip": 1, "repeats": 1, "minutes": 1,
 "models": {"dense": {"model.mlp": "dense"}, "cp": {}, "lost": {"data.source": "nowhere"}},
 "layouts": [{"models": ["cp", "dense"]}, {"dp": 2, "models": "lost"},
             {"tp": 2, "plan": "sequence", "models": ["cp", "dense"]}]}
JSON
scale=("$mumoe" scale --launch "$scripts")
# figures EXPRESSION: in Python, of the runs r in results.jsonl, all that were measured by cell in `by`.
figures() {
  python3 - "$1" <<'PYTHON' || wrong "$1: $(cut -c 1-300 out/results.jsonl)"
import json, sys
runs = [json.loads(line) for line in open("out/results.jsonl")]
by = {r["cell"]: r for r in runs if not r["failed"]}
sys.exit(0 if eval(sys.argv[1]) else 1)
PYTHON
}

# ---- What is wrong is a line, and nothing is written.
bad() {  # bad NAME TEXT EXPRESSION: the study with one thing changed, by an expression of sed
  sed "$3" study.json >bad.json
  ! cmp -s bad.json study.json || wrong "$1: nothing was changed"
  refused "$1" "$2" "${scale[@]}" bad.json --out bad
  [[ ! -e bad ]] || wrong "$1: something was written"
}
bad "no JSON" "bad.json" 's/"layouts"/layouts/'
bad "an unknown key" "bad.json: layouts[1].pp: no such key" 's/"dp"/"pp"/'
bad "an unknown key of a model" "bad.json: models.cp: unknown key model.exprts" 's/"cp": {}/"cp": {"model.exprts": "4"}/'
bad "a value of no plan" "bad.json: layouts[2].plan: parallel.plan = ring" 's/"sequence"/"ring"/'
bad "more ranks than samples" "bad.json: cell lost/5x1/strong: train.batch = 4" 's/"dp": 2/"dp": 5/'
bad "heads that do not divide" "bad.json: cell cp/1x3-sequence/strong: parallel.tp = 3" 's/"tp": 2/"tp": 3/'
bad "a micro-batch that does not divide" "train.micro_batch = 3" 's/"dp": 2/"dp": 1, "micro_batch": 3/'
bad "a plan that cuts no dense model" "bad.json: cell dense/1x2-rank/strong: parallel.plan = rank" 's/"sequence"/"rank"/'
bad "no configuration" "nowhere.cfg" 's/tiny.cfg/nowhere.cfg/'
bad "a configuration without a name" 'bad.json: config = "": expected a file' 's/"tiny.cfg"/""/'
bad "a number for a configuration" 'bad.json: config = 7: expected a file' 's/"tiny.cfg"/7/'
refused "no study" "nowhere.json" "${scale[@]}" nowhere.json --out bad
refused "no folder" "--out FOLDER is missing" "${scale[@]}" study.json
refused "no such runner" "--runner pbs: expected mpirun or slurm" "${scale[@]}" study.json --out bad --runner pbs
refused "a folder of others" "holds other files" "${scale[@]}" study.json --out corpus
quiet "${scale[@]}" study.json --dry-run yes
[[ $(grep -c 'mpirun -n . .* train --config .* --train.steps 4' stdout) == 10 ]] || wrong "--dry-run: $(<stdout)"

# ---- Stopped in the middle: what is finished is kept.
"${scale[@]}" study.json --out out >first 2>first_errors &
child=$!
for ((i = 0; i < 600; i++)); do if grep -q '^\[2/10\]' first; then break; fi; sleep 0.1; done
sleep 0.7
kill -TERM "$child"
code=0
wait "$child" || code=$?
[[ $code == 3 ]] || wrong "stopped: exit code $code, expected 3: $(cat first first_errors)"
grep -q '^stopped by a signal: [0-9]* of 10 runs are in ' first || wrong "stopped: $(cat first first_errors)"
[[ ! -s first_errors ]] || wrong "stopped: $(<first_errors)"
cp out/results.jsonl kept
lines=$(wc -l <kept)
((lines >= 2 && lines < 10)) || wrong "stopped: $lines runs are there"

# ---- A line that a crash cut short is measured again, the others are not. A run that fails is named, its code is the end's.
sed -n '1p' kept | cut -c 1-200 | tr -d '\n' >>out/results.jsonl
code=0
timeout -k 5 120 "${scale[@]}" study.json --out out --json table.json >second 2>second_errors </dev/null || code=$?
[[ $code == 2 ]] || wrong "one cell fails: exit code $code, expected 2: $(cat second second_errors)"
grep -q "^note     .*results.jsonl:$((lines + 1)): the last line is cut short (200 bytes) and left out" second || wrong "a cut line: $(<second)"
grep -q "10 runs, $((10 - lines)) to measure" second || wrong "resumed: $(<second)"
grep -q "lost/2x1/weak, repeat 0: FAILED with code 2: data source nowhere" second || wrong "a failed cell: $(<second)"
[[ $(wc -l <second_errors) == 1 ]] || wrong "one cell fails: expected one line, got: $(<second_errors)"
grep -q "^mumoe: 2 of 10 runs failed, first lost/2x1/strong: data source nowhere" second_errors || wrong "$(<second_errors)"
cmp -s kept <(head -n "$lines" out/results.jsonl) || wrong "what was finished has changed"
figures 'len(runs) == 10 and len(by) == 8'
figures 'all(r["steps"] == 3 and len(r["step_ms_all"]) == 3 for r in by.values())'
figures 'by["cp/1x2-sequence/weak"]["batch"] == 8 and by["cp/1x2-sequence/strong"]["batch"] == 4'
figures 'by["cp/1x1/weak"]["loss"] == by["cp/1x1/strong"]["loss"]'
figures 'abs(by["cp/1x1/strong"]["loss"] - by["cp/1x2-sequence/strong"]["loss"]) < 1e-4'
figures 'by["cp/1x2-sequence/weak"]["tp_bytes"] == 2 * by["cp/1x2-sequence/strong"]["tp_bytes"] > 0 == by["cp/1x1/weak"]["tp_bytes"]'
figures 'by["cp/1x2-sequence/weak"]["exposed_ms"] > 0 == by["cp/1x1/weak"]["exposed_ms"]'
figures 'by["cp/1x1/weak"]["parameters"] != by["dense/1x1/weak"]["parameters"] == by["dense/1x2-sequence/weak"]["parameters"]'
figures 'all(abs(r["targets_per_s"] * r["step_ms"] / 1000 - 16 * r["batch"]) < 0.01 * r["batch"] for r in by.values())'
grep -qE '^cp/1x1/weak +[0-9.]+ .* 100.0%' second || wrong "no table: $(<second)"
python3 -c 'import json; t = {c["cell"]: c for c in json.load(open("table.json"))["cells"]}
assert t["cp/1x1/weak"]["efficiency"] == 1 and 0 < t["cp/1x2-sequence/weak"]["efficiency"] < 4, t' || wrong "table.json"
[[ -s out/report.html && -s out/study.json ]] || wrong "no report: $(ls out)"
[[ -z $(find out/cells -name checkpoints -o -name '*.trace*') ]] || wrong "what is large stays: $(find out/cells)"

# ---- Done: only what failed is tried again, unless it is told not to.
refused "done but for a failure" "2 of 10 runs failed" "${scale[@]}" study.json --out out --retry no
grep -q "10 runs, 0 to measure" stdout || wrong "--retry no: $(<stdout)"
cp -r corpus nowhere
code=0
timeout -k 5 60 "${scale[@]}" study.json --out out >stdout 2>stderr </dev/null || code=$?
[[ $code == 0 ]] || wrong "mended: exit code $code: $(cat stdout stderr)"
grep -q "10 runs, 2 to measure" stdout || wrong "mended: $(<stdout)"
figures 'len(by) == 10 and len(runs) == 12'

# ---- What was measured is predicted from the rest of it, and from itself.
quiet "$mumoe" predict-check --study out --json own.json
grep -q "cp/1x2-sequence/weak" stdout || wrong "predicted: $(<stdout)"
quiet "$mumoe" predict-check --study out --test out --json same.json
python3 -c 'import json; own, same = (json.load(open(f)) for f in ("own.json", "same.json"))
assert len(own["cells"]) == len(same["cells"]) == 10 and own["groups"] == same["groups"] == 3
assert all(0 < c["low_s"] < c["predicted_s"] < c["high_s"] and c["predicted_memory_bytes"] > 0 for c in own["cells"])
assert own["exact_bytes"] == same["exact_bytes"] == 10
assert same["mean_error"] < 0.5 and same["in_interval"] >= 8' || wrong "own.json, same.json: $(cat own.json same.json)"
refused "no study" "nowhere2" "$mumoe" predict-check --study nowhere2

# ---- Another study says beside each result what was to be expected by it.
echo '{"config": "tiny.cfg", "steps": 3, "skip": 1, "repeats": 1, "minutes": 1, "models": {"cp": {}}, "layouts": [{}],
       "scaling": "strong"}' >one.json
quiet "${scale[@]}" one.json --out expected --predict out
python3 -c 'import json; r = json.loads(open("expected/results.jsonl").read())
p, memory = r["predicted"], r["predicted"]["memory_mib"]
assert 0 < p["low_ms"] < p["step_ms"] < p["high_ms"] and abs(memory / r["rss_mib"] - 1) < 0.2, r' ||
  wrong "predicted: $(cut -c 1-2000 expected/results.jsonl)"
refused "nothing to expect by" "nowhere2" "${scale[@]}" one.json --out bad --predict nowhere2
refused "one model alone" "are all of one model" "$mumoe" predict-check --study expected
end
