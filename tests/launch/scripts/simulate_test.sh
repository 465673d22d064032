#!/usr/bin/env bash
# simulate_test.sh MUMOE: steps that are charged instead of computed, beside real ones behind a software link: the same
# bytes, about the same time; thousands of ranks; a trace; what is wrong is one line.
set -euo pipefail
mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
export OMP_NUM_THREADS=1
recipe=("$mumoe" simulate --config "$root/configs/gpt2_124m_cp.cfg")

# ---- GPUs that are not here
quiet "${recipe[@]}" --machine h100-80g --nodes 512 --train.batch 4096 --parallel.tp 4 --parallel.plan sequence \
  --log.trace trace.json --json facts.json
for text in h100-80g "rank 0 of" "4096 ranks" "ms a step" "speed of light" "trace trace.json"; do
  grep -qF -- "$text" <(tr -s ' \n' ' ' <stdout) || wrong "no '$text' in: $(<stdout)"
done
python3 - <<'CHECK' || wrong "facts.json: $(<facts.json)"
import json
facts = json.load(open("facts.json"))
assert facts["ranks"] == 4096 and facts["simulated_in_s"] < 60, facts
assert 0 < facts["mfu"] <= facts["sol"] < 1
parts = sum(facts[k] for k in ("products_s", "kernels_s", "passes_s", "idle_s")) + sum(facts["waits_s"].values())
assert abs(parts / facts["step_s"] - 1) < 0.02, parts
events = json.load(open("trace.json"))
rows = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
assert {"phases", "computes", "host", "waits", "tp", "dp", "all"} <= rows, rows
spans = [e for e in events if e["ph"] == "X"]
assert len(spans) > 1000 and all(e["dur"] >= 0 for e in spans)
CHECK
# Models larger than this machine's memory.
quiet "${recipe[@]}" --machine h200 --nodes 128 --train.batch 2048 --model.depth 96 --model.width 12288 --model.heads 96 \
  --model.hidden 49152 --model.rank 8000 --parallel.tp 8 --parallel.plan sequence --json facts.json
python3 -c 'import json; facts = json.load(open("facts.json")); assert facts["peak_bytes"] > 60e9, facts' || wrong "$(<facts.json)"
# The same twice.
quiet "${recipe[@]}" --machine a100-80g --parallel.link 10,25 --json first.json
quiet "${recipe[@]}" --machine a100-80g --parallel.link 10,25 --json second.json
cmp -s <(grep -v simulated_in first.json) <(grep -v simulated_in second.json) || wrong "another answer the second time"

# ---- Real steps on this machine
link=3000,0.02  # us, GB/s
small=(--model.depth 2 --model.width 64 --model.heads 4 --model.context 64 --model.experts 16 --train.batch 8
  --train.precision fp32 --parallel.link "$link")
compare() {  # RANKS KEYS...
  local ranks=$1
  shift
  rm -rf run
  quiet "$root/launch/mpirun" -n "$ranks" "$mumoe" train "${small[@]}" "$@" --train.steps 12 --train.eval_windows 1 --train.out run
  quiet "$root/launch/mpirun" -n "$ranks" "$mumoe" train --simulate "${small[@]}" "$@" --json facts.json
  python3 - "$*" <<'CHECK' || wrong "$ranks ranks, $*: $(<facts.json)"
import json, statistics, sys
steps = [row for row in map(json.loads, open("run/metrics.jsonl")) if "step_ms" in row]
facts = json.load(open("facts.json"))
for axis in ("dp_bytes", "tp_bytes", "all_bytes"):
    assert steps[-1][axis] == facts[axis], f"{axis}: {steps[-1][axis]} measured, {facts[axis]} simulated"
# Most of it is the link, whatever else this machine does.
real, said = statistics.median(row["step_ms"] for row in steps[3:]), 1e3 * facts["step_s"]
print(f"{sys.argv[1]}: {real:.1f} ms, simulated {said:.1f}")
assert 0.6 < said / real < 1.5, f"{real} ms measured, {said} simulated"
CHECK
}
compare 2 --model.mlp cp --parallel.dp 2
compare 2 --model.mlp tr --parallel.tp 2 --parallel.plan sequence --train.micro_batch 4
compare 4 --model.mlp cp --parallel.dp 2 --parallel.tp 2 --parallel.plan bottleneck --train.recompute everything
compare 2 --model.mlp dense --parallel.dp 2 --parallel.zero 0

# ---- What is wrong
refused "an unknown machine" "machine b100: unknown" "${recipe[@]}" --machine b100
refused "nodes of this machine" "--nodes: is of a named machine" "${recipe[@]}" --nodes 2
refused "a plan that is not chosen" "parallel.plan = auto: a simulation does not choose" "${recipe[@]}" --machine h100-80g --parallel.tp 4 --parallel.plan auto
refused "tp that does not divide" "parallel.tp = 3: does not divide 8 ranks" "${recipe[@]}" --machine h100-80g --parallel.tp 3
refused "another precision" "expected auto or bf16" "${recipe[@]}" --machine h100-80g --train.precision fp32
refused "no link" "parallel.link: a process that is alone has no link to measure" "$mumoe" simulate --parallel.dp 2
refused "a batch that cannot be cut" "train.micro_batch = 7" "${recipe[@]}" --machine h100-80g --train.micro_batch 7
refused "an unknown key" "model.widht" "${recipe[@]}" --model.widht 4
end
