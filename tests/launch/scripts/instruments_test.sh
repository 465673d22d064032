#!/usr/bin/env bash
# instruments_test.sh MUMOE: what watches a run: one rank of a larger mesh alone, the check of replicas, the model of a
# link and the trace that launch/trace reads.
set -euo pipefail

mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 2 32
wrong() { echo "$*"; exit 1; }

cat >>tiny.cfg <<'CONFIG'
[train]
steps = 4
batch = 8
eval_windows = 4
precision = fp32
gemm = mkl
CONFIG
train=("$mumoe" train --config tiny.cfg)
run() { timeout -k 5 120 "$@" >out 2>err </dev/null || wrong "exit code $?: $*: $(<err)"; }
losses() { grep -o 'loss [0-9.]*' out; }

# Neither a link nor checks nor a trace change a bit of what is learnt, nor does it matter who updates which weights.
run "$root/launch/mpirun" -n 2 "${train[@]}" --log.every 1 --train.out plain
losses >plain.losses
run "$root/launch/mpirun" -n 2 "${train[@]}" --log.every 1 --train.out watched --parallel.zero 0 \
  --parallel.check_replicas 1 --parallel.backend mpi --parallel.link 20000,1 --log.trace trace.json
losses | diff - plain.losses || wrong "losses differ: $(<out)"
python3 - "$root/launch/gpu" <<'PYTHON' || wrong "weights differ"
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import programs
plain, watched = (programs.tensors(pathlib.Path(run), 4, "") for run in ("plain", "watched"))
assert len(plain) > 20 and plain == watched
PYTHON
grep -q '^trace: 4 steps in trace.json.rank0; gradients under way' out || wrong "no line about the trace: $(<out)"

# Weights that ranks update in parts are compared when they have come.
run "$root/launch/mpirun" -n 2 "${train[@]}" --log.every 1 --parallel.check_replicas 1
losses | diff - plain.losses || wrong "losses differ: $(<out)"

# Every all_reduce of gradients takes the latency of 20 ms, and nothing else does anything to hide it here.
run "$root/launch/trace" --skip 1 --json --merge merged.json trace.json.rank0 trace.json.rank1
python3 - <<'PYTHON'
import json
ranks = json.load(open("out"))
assert [r["rank"] for r in ranks] == [0, 1], ranks
for r in ranks:
    moved = sum(o["bytes"] for o in r["operations"])
    assert r["steps"] == 3 and moved > 0 and {o["op"] for o in r["operations"]} == {"all_reduce"}, r
    # A busy machine wakes a rank that waits after what it waited for.
    assert r["gradients_ms"] >= 20 and 0 < r["waited_ms"] <= r["gradients_ms"] * 1.5, r
    assert 0 < r["exposed"] <= 1.5 and r["backward_ms"] > 0 and r["forward_ms"] > 0, r
merged = json.load(open("merged.json"))
assert {e["pid"] for e in merged} == {0, 1}
names = {e["name"] for e in merged if e["ph"] == "X"}
assert {"load", "forward", "backward", "check", "update", "report", "checkpoint", "all_reduce", "step 4"} <= names, names
PYTHON
run "$root/launch/trace" trace.json.rank0
grep -q "exposed" out || wrong "no table: $(<out)"
refused "instruments" "no steps after the first 4" "$root/launch/trace" --skip 4 trace.json.rank0
refused "instruments" "tiny.cfg: expected a trace" "$root/launch/trace" tiny.cfg
refused "instruments" "none.json: expected a trace" "$root/launch/trace" none.json

# One rank of 64 alone: the time and the memory of its share.
run "${train[@]}" --parallel.backend null --parallel.dp 64 --train.batch 128
grep -q "^alone    losses and sums over ranks mean nothing; tok/s, mfu and sol are of all ranks" out || wrong "no warning: $(<out)"
grep -q "^mesh     dp 0/64 tp 0/1 world 0/64 alone$" out || wrong "not 64 ranks: $(<out)"
[[ $(grep -cE '^         [0-9]+  ' out) == 1 ]] || wrong "more ranks are drawn than one: $(<out)"
grep -Eq '^one rank [0-9.]+ ms a step \(median of 3' out || wrong "no time: $(<out)"
grep -Eq '^memory   weights [0-9.]+ MiB, gradients [0-9.]+ MiB, optimizer [0-9.]+ MiB, kept for backward [0-9.]+ MiB; process at most [0-9.]+ MiB' out ||
  wrong "no memory: $(<out)"
# Its memory is one rank's, also where that of all would be more than the machine has.
run "${train[@]}" --parallel.backend null --parallel.dp 65536 --train.batch 65536
refused "instruments" "parallel.backend = null: expected parallel.dp" "${train[@]}" --parallel.backend null
refused "instruments" "expected an empty train.out" "${train[@]}" --parallel.backend null --parallel.dp 2 --train.out null
refused "instruments" "2 ranks were started" "$root/launch/mpirun" -n 2 "${train[@]}" --parallel.backend null --parallel.dp 2
refused "instruments" "expected at least 64, a sample for each data-parallel rank" "${train[@]}" --parallel.backend null --parallel.dp 64
refused "instruments" "parallel.plan = auto: parallel.backend = null has no link to measure" \
  "${train[@]}" --parallel.backend null --parallel.dp 4 --parallel.tp 2 --parallel.plan auto
refused "instruments" "parallel.tp = 4: model.heads = 2" "${train[@]}" --parallel.backend null --parallel.dp 2 --parallel.tp 4

# What a rank holds falls with tp: the blocks of this model are cut all but whole.
weights() { sed -nE 's/^memory   weights ([0-9]+)\.([0-9]) MiB.*/\1\2/p' out; }  # tenths of a MiB
alone=("${train[@]}" --parallel.backend null --parallel.dp 4 --model.width 256 --model.heads 4 --model.rank 256
  --train.precision fp32 --train.steps 2)
run "${alone[@]}" --parallel.tp 1
whole=$(weights)
for plan in sequence bottleneck rank; do
  run "${alone[@]}" --parallel.tp 2 --parallel.plan $plan
  grep -q "^mesh     dp 0/4 tp 0/2 world 0/8 alone$" out || wrong "no mesh: $(<out)"
  grep -q "^plan     $plan$" out || wrong "no plan: $(<out)"
  ((100 * $(weights) < 75 * whole && 100 * $(weights) >= 45 * whole)) || wrong "$plan: $(weights) of $whole: $(<out)"
done
[[ ! -e null ]] || wrong "a run directory was written"

refused "instruments" "parallel.link = 50: expected latency" "$root/launch/mpirun" -n 2 "${train[@]}" --parallel.link 50
refused "instruments" "none/trace.json.rank0: cannot write" "$root/launch/mpirun" -n 2 "${train[@]}" --log.trace none/trace.json
