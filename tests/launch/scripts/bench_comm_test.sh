#!/usr/bin/env bash
# bench_comm_test.sh MUMOE: the tables of `mumoe bench comm`: which there are, their columns, that results are right and
# bus bandwidths follow from times, that a modelled link is seen; and one line with exit code 2 for bad options.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
wrong() { echo "$*"; exit 1; }

# tables RANKS OPTIONS...: leaves what was printed in out, one row a line without headings in rows.
tables() {
  timeout 120 "$mpirun" -n "$1" "$mumoe" bench comm "${@:2}" >out 2>err || wrong "exit code $? with ${*:2}: $(<err)"
  grep -v '^#' out | grep . >rows || wrong "no rows: $(<out)"
}

tables 4 --parallel.tp 2 --sizes 1K:64K:64 --rounds 2
expected=()
for op in all_reduce all_gather reduce_scatter all_to_all broadcast; do
  for axis in "dp: 2" "tp: 2" "all: 4"; do expected+=("# $op over $axis ranks"); done
done
diff <(grep -o '^# [a-z_]* over [a-z]*: [0-9]* ranks' out) <(printf '%s\n' "${expected[@]}") || wrong "tables in: $(<out)"
[[ $(wc -l <rows) == 30 ]] || wrong "expected 15 tables of 2 sizes: $(<out)"
python3 - <<'PYTHON'
op, factors = None, {"all_reduce": lambda n: 2 * (n - 1) / n, "broadcast": lambda n: 1}
for line in open("out"):
    words = line.split()
    if " over " in line:
        op, ranks = words[1], int(words[4])
    if not words or words[0] == "#" or words[0].startswith("#"):
        continue
    size, count, kind, redop, root, time, algbw, busbw, wrong = words
    size, count, time, algbw, busbw = int(size), int(count), float(time), float(algbw), float(busbw)
    parts = 1 if op in ("all_reduce", "broadcast") else ranks
    assert count == size / 4 / parts and kind == "fp32", line
    assert redop == ("sum" if op in ("all_reduce", "reduce_scatter") else "none"), line
    assert root == ("0" if op == "broadcast" else "-1"), line
    assert wrong == "0" and time > 0, line
    assert abs(algbw - size / time / 1e3) <= 1e-3 + 1e-2 * algbw, line
    factor = factors.get(op, lambda n: (n - 1) / n)(ranks)
    assert abs(busbw - factor * algbw) <= 2e-3, line
PYTHON

# Sizes are rounded to whole elements, the same number for every rank.
tables 3 --sizes 1000 --ops all_gather,reduce_scatter --type bf16 --redop max --rounds 1
[[ $(awk '{print $1, $2, $3, $4}' rows | paste -sd,) == "996 166 bf16 none,996 166 bf16 max" ]] || wrong "rows: $(<rows)"

# A link of 0.01 GB/s and 2 ms: 200 KB take 22 ms, whatever this machine is.
tables 2 --sizes 200000 --ops all_reduce --rounds 3 --parallel.backend mpi --parallel.link 2000,0.01
awk '{exit !($6 >= 22000 && $8 <= 0.0091)}' rows || wrong "the link is not seen: $(<rows)"

# refuses TEXT RANKS OPTIONS...
refuses() { refused "bench comm ${*:3}" "$1" "$mpirun" -n "$2" "$mumoe" bench comm "${@:3}"; }
refuses "one rank, nothing to measure" 1
refuses "--axes tp: one rank, nothing to measure" 2 --axes tp
refuses "--axes world: expected one of dp, tp, all" 2 --axes world
refuses "--ops gather: expected one of all_reduce, all_gather" 2 --ops all_reduce,gather
refuses "--sizes 1K:2X:2: expected min:max:factor" 2 --sizes 1K:2X:2
refuses "--sizes 8K:1K:2: expected a growing row of sizes" 2 --sizes 8K:1K:2
refuses "--sizes 1K:8K: expected min:max:factor" 2 --sizes 1K:8K
refuses "--type fp16: expected one of fp32, bf16, fp64, int64" 2 --type fp16
refuses "--redop avg: expected one of sum, min, max" 2 --redop avg
refuses "--rounds 0: expected a whole number" 2 --rounds 0
refuses "parallel.tp = 3" 2 --parallel.tp 3
refuses "parallel.backend = null moves nothing; expected auto, mpi or nccl" 2 --parallel.backend null
# GPUs that are not there are not measured as if they were.
CUDA_VISIBLE_DEVICES='' refuses "parallel.backend = nccl: " 2 --parallel.backend nccl
refuses "parallel.link = fast" 2 --parallel.link fast
code=0
"$mumoe" bench nothing >out 2>err || code=$?
[[ $code == 2 ]] && grep -q "expected what to measure: layer, kernels or comm" err || wrong "exit code $code: $(<err)"
