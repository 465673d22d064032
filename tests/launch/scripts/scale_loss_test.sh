#!/usr/bin/env bash
# scale_loss_test.sh MUMOE: mumoe scale runs a loss study, two budgets of each model branched from one stable run; stopped in
# the middle of a run it goes on there, runs nothing twice and loses nothing; a budget ends as a run that had its schedule
# from the beginning; a run that fails is named and tried again; what is wrong in a study is a line.
set -euo pipefail

mumoe=$(realpath "$1")
scripts=$(realpath "$(dirname "$0")/../../../launch")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[optimizer]
lr = 0.01
[schedule]
warmup = auto
[train]
batch = 4
precision = fp32
gemm = mkl
eval_windows = 4
CONFIG
# 64 tokens a step: 1000 and 1250 steps, of which 200 and 250 bring the rate down; the stable run is left at step 800.
cat >study.json <<'JSON'
{"name": "tiny", "config": "tiny.cfg", "budgets": [63950, 80000], "minutes": 1, "layout": {"dp": 2},
 "models": {"cp": {}, "dense": {"model.mlp": "dense"}, "lost": {"data.source": "nowhere"}}}
JSON
scale=("$mumoe" scale --launch "$scripts")
# figures EXPRESSION: in Python, of the lines `runs` of results.jsonl, those that came to their end by name in `by`.
figures() {
  python3 - "$1" <<'PYTHON' || wrong "$1: $(cut -c 1-400 out/results.jsonl)"
import json, math, sys
runs = [json.loads(line) for line in open("out/results.jsonl")]
by = {r["run"]: r for r in runs if not r["failed"]}
losses = [r["loss"] for r in by.values() if r["budget"]]
sys.exit(0 if eval(sys.argv[1]) else 1)
PYTHON
}
# starts RUN: how often it began or went on, by its log.
starts() { grep -cE '^config ' "out/runs/$1/log.txt" || true; }

# ---- What is wrong is a line, and nothing is written.
bad() {  # bad NAME TEXT EXPRESSION: the study with one thing changed, by an expression of sed
  sed "$3" study.json >bad.json
  ! cmp -s bad.json study.json || wrong "$1: nothing was changed"
  refused "$1" "$2" "${scale[@]}" bad.json --out bad
  [[ ! -e bad ]] || wrong "$1: something was written"
}
bad "no JSON" "bad.json" 's/"budgets"/budgets/'
bad "a misspelled key" "bad.json: budgest: no such key of a loss study; did you mean budgets?" 's/"budgets"/"budgest"/'
bad "an unknown key of a model" "bad.json: models.cp: unknown key model.exprts" 's/"cp": {}/"cp": {"model.exprts": "4"}/'
bad "budgets that fall" "bad.json: budgets[1] = 1280: expected more than the one before it" 's/80000/1280/'
bad "a decay of all" "bad.json: decay = 1: expected a share of the steps between 0 and 1" 's/"minutes": 1/"decay": 1/'
bad "more ranks than samples" "bad.json: model cp: train.batch = 4" 's/"dp": 2/"dp": 5/'
bad "a length of its own" "bad.json: models.cp: train.steps: the study sets it" 's/"cp": {}/"cp": {"train.steps": 4}/'
quiet "${scale[@]}" study.json --dry-run yes
[[ $(grep -c 'mpirun -n 2 .* train --config .* --train.resume auto' stdout) == 9 ]] || wrong "--dry-run: $(<stdout)"
grep -q '^cp: .* 80000 tokens at the longest, 1.16 times that for all its budgets$' stdout || wrong "--dry-run: $(<stdout)"

# ---- Stopped in the middle of a stable run: what is finished is kept, and that one goes on.
metrics=out/runs/dense/seed-1/stable-800/metrics.jsonl
"${scale[@]}" study.json --out out >first 2>first_errors &
child=$!
for ((i = 0; i < 3000; i++)); do if [[ -s $metrics ]]; then break; fi; sleep 0.02; done
kill -TERM "$child"
code=0
wait "$child" || code=$?
[[ $code == 3 ]] || wrong "stopped: exit code $code, expected 3: $(cat first first_errors)"
grep -q '^stopped by a signal: 3 of 9 runs are in ' first || wrong "stopped: $(cat first first_errors)"
[[ ! -s first_errors ]] || wrong "stopped: $(<first_errors)"
cp out/results.jsonl kept
there=$(wc -l <"$metrics")
((there > 0 && there < 800)) || wrong "stopped: $there steps are there"
[[ -n $(find out/runs/dense -name 'step_*') && -z $(find out/runs/cp -name 'step_*') ]] || wrong "checkpoints: $(find out/runs)"

# ---- A line that a crash cut short is left out. What fails is named, what branches from it left out; its code is the end's.
sed -n '1p' kept | cut -c 1-200 | tr -d '\n' >>out/results.jsonl
code=0
timeout -k 5 120 "${scale[@]}" study.json --out out --json table.json >second 2>second_errors </dev/null || code=$?
[[ $code == 2 ]] || wrong "one model fails: exit code $code, expected 2: $(cat second second_errors)"
grep -q "^note     .*results.jsonl:4: the last line is cut short (200 bytes) and left out" second || wrong "a cut line: $(<second)"
grep -q "9 runs, 6 to run" second || wrong "resumed: $(<second)"
grep -q "lost/seed-1/stable-800: FAILED with code 2: data source nowhere" second || wrong "a failed run: $(<second)"
[[ $(grep -c "left out: lost/seed-1/stable-800 failed" second) == 2 ]] || wrong "what branches from it: $(<second)"
[[ $(wc -l <second_errors) == 1 ]] || wrong "one model fails: expected one line, got: $(<second_errors)"
grep -q "^mumoe: 1 of 7 runs failed, first lost/seed-1/stable-800: data source nowhere" second_errors || wrong "$(<second_errors)"
cmp -s kept <(head -n 3 out/results.jsonl) || wrong "what was finished has changed"
grep -q "^resumed after step $there " out/runs/dense/seed-1/stable-800/log.txt || wrong "$(cat out/runs/dense/seed-1/stable-800/log.txt)"
[[ $(wc -l <"$metrics") == 800 ]] || wrong "$(wc -l "$metrics")"
for run in cp/seed-1/{stable-800,budget-1000,budget-1250} dense/seed-1/{budget-1000,budget-1250}; do
  [[ $(starts "$run") == 1 ]] || wrong "$run began $(starts "$run") times"
done
[[ -z $(find out/runs -name 'step_*') ]] || wrong "what is large stays: $(find out/runs)"
figures 'len(runs) == 7 and len(by) == 6 and len(losses) == 4 and all(math.isfinite(l) and 0 < l < 6 for l in losses)'
figures 'by["cp/seed-1/budget-1000"]["targets"] == 64000 and by["cp/seed-1/budget-1000"]["first_step"] == 800'
figures 'by["cp/seed-1/budget-1000"]["embeddings"] == (256 + 16) * 16 and by["cp/seed-1/budget-1000"]["form"] == "cp"'
grep -qE '^dense +dense +3120 +8e\+04 .* [0-9.]{6}$' second || wrong "no table: $(<second)"
python3 -c 'import json; t = json.load(open("table.json")); assert len(t["losses"]) == 4 and len(t["runs"]) == 7, t' || wrong "table.json"
[[ -s out/report.html && -s out/study.json ]] || wrong "no report: $(ls out)"

# ---- A branch, of a stable run that was stopped, ends as a run with its schedule from the beginning.
quiet "$scripts/mpirun" -n 2 "$mumoe" train --config tiny.cfg --model.mlp dense --parallel.dp 2 --schedule.kind wsd \
  --schedule.warmup 100 --train.steps 1000 --train.seed 1 --train.out whole
loss=$(tail -n 1 whole/metrics.jsonl | grep -o '"val_loss":[^,}]*')
[[ $loss && $(tail -n 1 out/runs/dense/seed-1/budget-1000/metrics.jsonl) == *"$loss"* ]] || wrong "a branch ends otherwise: $loss"

# ---- Done: only what failed is tried again, unless it is told not to.
refused "done but for a failure" "1 of 7 runs failed" "${scale[@]}" study.json --out out --retry no
figures 'len(runs) == 7'
cp -r corpus nowhere
quiet "${scale[@]}" study.json --out out
grep -q "9 runs, 3 to run" stdout || wrong "mended: $(<stdout)"
figures 'len(by) == 9 and len(runs) == 10'
end
