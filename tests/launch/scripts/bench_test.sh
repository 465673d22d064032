#!/usr/bin/env bash
# Tests launch/bench with two small programs in place of ours and the twin: the tables it prints, and one line and the
# right exit code for a child that ends, hangs or answers nonsense.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong() { echo "$*"; exit 1; }

# fake WHO: answers with the times of WHO, which differ from round to round; of the fourth question on it does as told.
cat >"$folder/fake" <<'PYTHON'
import json, sys, time
who, then = sys.argv[1], (sys.argv[2:] or ["answer"])[0]
times = {"ours": [100, 400, 200], "twin": [300, 100, 900]}[who]
asked = {}
for number, line in enumerate(sys.stdin):
    case, precision, *rest = line.split()
    if rest:
        assert who == "ours" and rest == ["recompute"] and not case.startswith("dense"), line
    assert not (who == "ours" and case == "softmax"), line
    if number >= 3 and then == "end":
        print("out of memory", file=sys.stderr)
        sys.exit(3)
    if number >= 3 and then == "hang":
        time.sleep(60)
    if number >= 3 and then == "nonsense":
        print("hello", flush=True)
        continue
    n = asked[case, precision] = asked.get((case, precision), -1) + (not rest)
    ms = 1000 if rest else times[n] / (2 if case.startswith("dense") else 1)
    held = 2**20 * (3 if rest else 15 if who == "ours" else 30)
    answer = {"case": case, "precision": precision, "ms": ms, "held_bytes": held}
    if who == "ours" and not case.startswith("entmax"):
        answer["gemm_ms"] = ms / 1.25
    print(json.dumps(answer), flush=True)
PYTHON

bench() {  # bench OURS TWIN OPTIONS...: sets $code, leaves out and err
  code=0
  "$root/launch/bench" --ours "python3 $folder/fake $1" --twin "python3 $folder/fake $2" --rounds 3 --pause 0 "${@:3}" \
    >"$folder/out" 2>"$folder/err" </dev/null || code=$?
}
contains() { tr -s ' ' <"$folder/out" | grep -qxF -- "$1" || wrong "expected '$1' in: $(<"$folder/out")"; }

bench ours twin --precisions fp32 --json "$folder/json"
[[ $code == 0 ]] || wrong "exit code $code: $(<"$folder/err")"
# Medians 200 and 300; of the ratios 3, 0.25 and 4.5 the median is 3.
contains "cp-gpt2 fp32 200.0 300.0 3.00 1.25 15.0 30.0 0.50 3.0 0.10"
contains "dense-mixer fp32 100.0 150.0 3.00 1.25 15.0 30.0 0.50 - -"
contains " ours 200.00 ms, entmax 300.00 ms, entmax/ours 3.00"
contains " ours 200.00 ms, torch.softmax 300.00 ms, torch.softmax/ours 3.00"
contains " tr-mixer/dense-mixer fp32 2.00"
[[ $(grep -c ' fp32 ' "$folder/out") == 10 ]] || wrong "expected 6 layers and 4 ratios in: $(<"$folder/out")"
python3 - "$folder/json" <<'PYTHON'
import json, sys
found = json.load(open(sys.argv[1]))
assert found["rounds"] == 3 and len(found["layers"]) == 6, found
assert len(found["ours"]) == 21 and len(found["twin"]) == 24 and len(found["ours_recompute"]) == 4, found
PYTHON

bench ours twin --cases tr-gpt2
[[ $code == 0 ]] || wrong "exit code $code: $(<"$folder/err")"
grep -q "^tr-gpt2 *bf16 \|^bf16 is left out" "$folder/out" || wrong "bf16 is missing: $(<"$folder/out")"

failed() {  # failed CODE TEXT: the exit code, and one line on stderr with the text
  [[ $code == "$1" ]] || wrong "exit code $code, expected $1: $(<"$folder/err")"
  [[ $1 == 2 || $(wc -l <"$folder/err") == 1 ]] || wrong "expected one line, got: $(<"$folder/err")"
  grep -qF -- "$2" "$folder/err" || wrong "expected '$2' in: $(<"$folder/err")"
}
bench "ours end" twin --precisions fp32
failed 1 "ended with code 3 at 'tr-gpt2 fp32 recompute': out of memory"
bench ours "twin nonsense" --precisions fp32
failed 1 "answered 'tr-mixer fp32' with: hello"
bench ours "twin hang" --precisions fp32 --timeout 1
failed 1 "silent for 1 s at 'tr-mixer fp32'"
bench ours twin --ours "$folder/none bench"
failed 1 "$folder/none bench) cannot start: No such file or directory"
bench ours twin --rounds 0
failed 2 "--rounds 0: expected at least 1"
bench ours twin --cases cp-gpt3
failed 2 "cp-gpt3"
bench ours twin --json "$folder/none/json"
failed 2 "$folder/none/json"
bench ours twin --cases tr-gpt2 --precisions fp32 --json "$folder"
failed 1 "--json $folder: Is a directory"
"$root/launch/bench" --help | grep -q "PyTorch twin" || wrong "--help does not say what it does"
