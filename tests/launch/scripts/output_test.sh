#!/usr/bin/env bash
# output_test.sh MUMOE: what cannot be written is found before the work, where it has a name (--json, log.trace), and is
# never passed over: results that stdout does not take are a line and code 2, whatever the subcommand.
set -euo pipefail

mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[train]
steps = 2
batch = 4
precision = fp32
gemm = mkl
eval_windows = 2
CONFIG
quiet "$mumoe" train --config tiny.cfg --train.out run
measured=$root/tests/study/measured/a100_one_node.csv
plan=("$mumoe" plan --config "$root/configs/gpt2_124m_cp.cfg")
simulate=("$mumoe" simulate --config "$root/configs/gpt2_124m_cp.cfg" --machine h100-80g)
echo '{"config": "tiny.cfg", "steps": 1, "skip": 0, "models": {"cp": {}}, "layouts": [{}]}' >study.json
scale=("$mumoe" scale study.json --launch "$root/launch" --out out)

# unfound NAME COMMAND...: no folder for what is asked for, which is said before anything else is.
unfound() {
  refused "$1" "nowhere/file: cannot open" "${@:2}"
  [[ ! -s stdout ]] || wrong "$1: said before: $(<stdout)"
}
unfound plan "${plan[@]}" --json nowhere/file
unfound simulate "${simulate[@]}" --json nowhere/file
unfound "a simulated trace" "${simulate[@]}" --log.trace nowhere/file
unfound predict-check "$mumoe" predict-check "$measured" --json nowhere/file
unfound inspect "$mumoe" inspect run --json nowhere/file
unfound eval "$mumoe" eval --run run --json nowhere/file
unfound scale "${scale[@]}" --json nowhere/file
[[ ! -s out/results.jsonl ]] || wrong "scale: measured first: $(<out/results.jsonl)"
refused "plan, no name" "--json : expected a name" "${plan[@]}" --json ""
refused "inspect, no name" "--json : expected a name" "$mumoe" inspect run --json ""
# A table that is there beside the file, and one of these alone.
quiet "${plan[@]}" --json out/plan.json
[[ -s stdout && -s out/plan.json ]] || wrong "plan: $(<stdout)"
[[ ! $(find . -name '*.tmp') ]] || wrong "left: $(find . -name '*.tmp')"

# full COMMAND...: a stdout that takes nothing.
full() {
  local code=0
  timeout -k 5 60 "$@" >/dev/full 2>stderr </dev/null || code=$?
  [[ $code == 2 ]] || wrong "full stdout: exit code $code, expected 2: $*: $(<stderr)"
  grep -q '^mumoe: stdout: not all of it could be written' stderr || wrong "full stdout: $*: $(<stderr)"
}
full "$mumoe" help
full "$mumoe" --version
full "$mumoe" help train
full "${plan[@]}"
full "${plan[@]}" --json -
full "${simulate[@]}" --json -
full "$mumoe" train --config tiny.cfg --print-config
full "$mumoe" data --config tiny.cfg --out tokens
full "$mumoe" inspect run
full "$mumoe" inspect run --json -
full "$mumoe" eval --run run
full "$mumoe" sample --run run --tokens 4
full "$mumoe" convert --from run --to model.safetensors
full "${scale[@]}" --dry-run yes
# Whoever reads a line and goes misses nothing.
code=0
# shellcheck disable=SC2016  # the inner shell expands them
timeout -k 5 60 bash -c 'trap "" PIPE; "$0" help train | { read -r line; exec <&-; sleep 0.1; }; exit "${PIPESTATUS[0]}"' "$mumoe" 2>stderr || code=$?
[[ $code == 0 && ! -s stderr ]] || wrong "a reader that goes away: code $code, $(<stderr)"
# A run has its own log: what it says is there.
timeout -k 5 60 "$mumoe" train --config tiny.cfg --train.out again >/dev/full 2>stderr </dev/null || wrong "train: code $?: $(<stderr)"
cmp -s <(grep -c . run/log.txt) <(grep -c . again/log.txt) || wrong "train: $(<again/log.txt)"
end
