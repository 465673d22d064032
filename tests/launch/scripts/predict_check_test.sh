#!/usr/bin/env bash
# predict_check_test.sh MUMOE: predictions beside measured runs of others, as a table and as JSON; what is wrong is one line.
set -euo pipefail
mumoe=$(realpath "$1")
measured=$(realpath "$(dirname "$0")/../../study/measured")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
one=$measured/a100_one_node.csv
many=$measured/a100_many_nodes.csv

quiet env COLUMNS=80 "$mumoe" predict-check "$one" --many "$many" --json facts.json
for text in "a100-80g" "five folds" "cells kept back" "tp kept back" "several nodes" "layout chosen"; do
  grep -qF -- "$text" stdout || wrong "no '$text' in: $(<stdout)"
done
[[ $(wc -L <stdout) -le 80 ]] || wrong "lines wider than 80: $(<stdout)"
python3 - <<'CHECK' || wrong "facts.json: $(<facts.json)"
import json
facts = json.load(open("facts.json"))
rows, far = facts["one_node"]["rows"], facts["several_nodes"]["runs"]
assert facts["machine"] == "a100-80g" and facts["seed"] == 0
assert rows["runs"] == 480 and far["runs"] == 10
assert rows["mean_error"] <= 0.07 and rows["rates_mean_error"] <= 0.07
assert far["mean_error"] <= 0.14 and far["worst_cost_of_choice"] <= 0.02
CHECK
# Files of both kinds, in any order: rows say where they ran.
quiet "$mumoe" predict-check "$many" "$one" --json -
cmp -s stdout facts.json || wrong "another order of files, other facts: $(diff stdout facts.json)"
# Another seed keeps others back; links of half the speed are slower.
quiet "$mumoe" predict-check "$one" "$many" --seed 7 --json -
cmp -s stdout facts.json && wrong "seed 7 says what seed 0 does"
echo '{"machines": {"slow": {"like": "a100-80g", "node_bandwidth": 25e9}}}' >slow.json
quiet "$mumoe" predict-check "$one" "$many" --machine slow --machines slow.json --json -
python3 - <<'CHECK' || wrong "slower links are not slower: $(<stdout)"
import json
error = lambda name: json.load(open(name))["several_nodes"]["runs"]["mean_signed_error"]
assert error("stdout") > error("facts.json") + 0.1
CHECK

# What is kept back in a file of its own, few rows as they may be, in any form that programs write.
{ head -n 1 "$one"; sed -n '2,6p' "$one"; } | sed 's/^/"A100, 80 GB",/; 1s/"A100, 80 GB"/GPU/' >kept.csv
{ head -n 1 "$one"; sed -n '7,$p' "$one"; } >rest.csv
quiet "$mumoe" predict-check rest.csv --test kept.csv --json -
python3 -c 'import json; facts = json.load(open("stdout"))
assert facts["one_node"]["rows"]["runs"] == 475 and facts["test"]["runs"]["runs"] == 5
assert facts["test"]["runs"]["mean_error"] < 0.05' || wrong "kept back: $(<stdout)"
head -c -1 rest.csv >no_end.csv
quiet "$mumoe" predict-check no_end.csv --json -
grep -q '^note: no_end.csv: line 476: its end is missing.*left out$' stderr || wrong "no end: $(<stderr)"
python3 -c 'import json; assert json.load(open("stdout"))["one_node"]["rows"]["runs"] == 474' || wrong "no end: $(<stdout)"

refused "a file beside a study" "--file: says nothing of this program's own steps" "$mumoe" predict-check "$one" --study nowhere
refused "a machine beside a study" "--machine: says nothing of" "$mumoe" predict-check --study nowhere --machine h200
refused "no test" "nowhere.csv" "$mumoe" predict-check "$one" --test nowhere.csv
refused "no file" "FILE is missing" "$mumoe" predict-check
refused "a file that is not there" "nowhere.csv" "$mumoe" predict-check nowhere.csv
refused "an unknown machine" "machine b100: unknown; expected one of a100-80g, h100-80g, h200" "$mumoe" predict-check "$one" --machine b100
refused "no run on one node" "0 runs on one node" "$mumoe" predict-check "$many"
head -c 10000 "$one" >half.csv
refused "half a file" "half.csv: line" "$mumoe" predict-check half.csv
sed '7s/^[0-9]*/many/' "$one" >word.csv
refused "a word for a number" 'word.csv: line 7: # GPUs is "many"' "$mumoe" predict-check word.csv
echo '{"machines": {"mine": {"peak_flops": 1e14}}}' >mine.json
refused "half a machine" "mine.json: machine mine: memory_bandwidth is missing" "$mumoe" predict-check "$one" --machines mine.json
echo '{"machines": {"mine": {"like": "h200", "link_share": "all"}}}' >mine.json
refused "a machine of words" 'machine mine.link_share is "all"' "$mumoe" predict-check "$one" --machines mine.json
end
