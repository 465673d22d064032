#!/usr/bin/env bash
# plan_test.sh MUMOE: the layouts of a run on GPUs that are not here, as a table and as JSON; what is given is not looked
# for; what is wrong, and what no layout can train, is one line.
set -euo pipefail
mumoe=$(realpath "$1")
configs=$(realpath "$(dirname "$0")/../../../configs")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"
plan=("$mumoe" plan --config "$configs/gpt2_124m_cp.cfg")

quiet env COLUMNS=80 "${plan[@]}" --machine a100-80g --nodes 2 --rows 3 --json facts.json
for text in a100-80g "2 nodes of 8 GPUs" "124789536 parameters" "launch/mpirun -n 16 mumoe train --config" "refused"; do
  grep -qF -- "$text" <(tr -s ' \n' ' ' <stdout) || wrong "no '$text' in: $(<stdout)"
done
[[ $(wc -L <stdout) -le 80 ]] || wrong "lines wider than 80: $(<stdout)"
python3 - <<'CHECK' || wrong "facts.json: $(head -c 2000 facts.json)"
import json
facts = json.load(open("facts.json"))
possible, refused = facts["possible"], facts["refused"]
assert facts["parameters"] == 124789536 and len(possible) > 50 and refused
assert all(p["dp"] * p["tp"] == 16 for p in possible + refused)
times = [p["step_s"]["predicted"] for p in possible]
assert times == sorted(times)
best = possible[0]
assert best["step_s"]["low"] < times[0] < best["step_s"]["high"]
assert best["mfu"] <= best["sol"] < 1
assert best["bytes_a_step"]["tp"] == 0 or best["tp"] > 1
assert abs(sum(best["memory"].values()) - best["memory_bytes"]) < 1e-6 * best["memory_bytes"]
assert all(p["refused"] and "\n" not in p["refused"] for p in refused)
CHECK
# The same twice; and the fastest one's command line is one that train takes.
quiet "${plan[@]}" --machine a100-80g --nodes 2 --json -
cmp -s stdout facts.json || wrong "another answer the second time"
read -ra words < <(python3 -c 'import json; print(json.load(open("facts.json"))["possible"][0]["arguments"])')
quiet "$mumoe" train --config "$configs/gpt2_124m_cp.cfg" "${words[@]}" --print-config

quiet "${plan[@]}" --gpus-per-node 4 --parallel.tp 2 --parallel.plan rank --train.micro_batch 8 --train.recompute none --json -
python3 - <<'CHECK' || wrong "what was given is looked for: $(head -c 2000 stdout)"
import json
facts = json.load(open("stdout"))
assert {(p["dp"], p["tp"], p["plan"], p["micro_batch"], p["recompute"]) for p in facts["possible"]} == {(2, 2, "rank", 8, "none")}
assert {p["zero"] for p in facts["possible"]} == {0, 1}
CHECK

# This machine: by what was measured on it, here told as it would be by a study of two models on one and two ranks.
mkdir -p here
python3 - "$mumoe" <<'MAKE'
import json, os, subprocess, sys
lines = []
for width in (64, 128, 256):
    for dp, micro in ((1, 4), (1, 16), (2, 4), (2, 8)):
        cell, folder = f"cp-{width}/{dp}x1-micro{micro}/strong", f"here/cells/cp-{width}/{dp}x1-micro{micro}/strong/0"
        os.makedirs(folder)
        words = [f"--model.{key}={value}" for key, value in
                 dict(mlp="cp", width=width, depth=2, heads=4, context=64, experts=16, rank=width // 2).items()]
        words += ["--train.batch=16", f"--train.micro_batch={micro}", f"--parallel.dp={dp}", "--train.precision=fp32"]
        text = subprocess.run([sys.argv[1], "train", *words, "--print-config"], check=True, capture_output=True, text=True).stdout
        open(folder + "/config.cfg", "w").write(text)
        ms = (1 + width * width / 500 + 8 / micro) / dp
        lines.append(dict(study="s", cell=cell, model=f"cp-{width}", scaling="strong", dp=dp, tp=1, ranks=dp, nodes=1,
                          plan="sequence", zero=1, micro_batch=micro, batch=16, recompute=False, precision="fp32", repeat=0,
                          steps=3, step_ms=ms, step_ms_all=[ms], target="token", targets_per_s=16 * 64 / ms * 1e3, mfu=0.5,
                          sol=0.5, rss_mib=400 + width / 4 + micro, gpu_mib=None, dp_bytes=0, tp_bytes=0, all_bytes=0,
                          exposed_ms=None, loss=5, parameters=1000, flops_per_target=1e6 * dp, predicted=None, command="",
                          version="", finished="", failed="", code=0))
open("here/results.jsonl", "w").write("".join(json.dumps(line) + "\n" for line in lines))
MAKE
small=("$mumoe" plan --machine here --config here/cells/cp-128/1x1-micro4/strong/0/config.cfg)
quiet "${small[@]}" --study here --gpus-per-node 2 --json here.json
for text in "one host, fp32" "12 cells were measured here" "program"; do
  grep -qF -- "$text" <(tr -s ' \n' ' ' <stdout) || wrong "no '$text' in: $(<stdout)"
done
python3 - <<'CHECK' || wrong "here.json: $(head -c 2000 here.json)"
import json
facts = json.load(open("here.json"))
assert facts["machine"] == "here" and facts["measured"] == 12
best = facts["possible"][0]
# 16 samples of width 128 take two ranks some 20 ms.
assert best["dp"] * best["tp"] == 2 and 0.01 < best["step_s"]["predicted"] < 0.04
assert best["step_s"]["low"] < best["step_s"]["predicted"] < best["step_s"]["high"]
assert 300 < best["memory_bytes"] / 2**20 < 600
CHECK
refused "a machine that nobody has measured" "expected --study FOLDER, which mumoe scale configs/predict_fit.json" "${small[@]}"
refused "no study there" "nowhere/results.jsonl: no cell was measured" "${small[@]}" --study nowhere
refused "a study of another machine" "expected --machine here" "${plan[@]}" --study here
refused "two of this machine" "--nodes: --machine here is one" "${small[@]}" --study here --nodes 2

refused "an unknown machine" "machine b100: unknown; expected one of a100-80g, h100-80g, h200" "${plan[@]}" --machine b100
echo '{"machines": {"mine": {"peak_flops": 1e14}}}' >mine.json
refused "half a machine" "mine.json: machine mine: memory_bandwidth is missing" "${plan[@]}" --machines mine.json
refused "no nodes" "--nodes 0" "${plan[@]}" --nodes 0
refused "an unknown key" "model.widht" "${plan[@]}" --model.widht 4
code=0
"${plan[@]}" --nodes 1 --gpus-per-node 1 --model.width 12288 --model.depth 96 --model.heads 96 >stdout 2>stderr || code=$?
[[ $code == 2 && $(wc -l <stderr) == 1 ]] || wrong "too large a model: code $code, $(<stderr)"
grep -qE "no layout of 1 ranks can train this model: needs [0-9.]+ [GT]iB of a GPU's memory" stderr || wrong "too large a model: $(<stderr)"
end
