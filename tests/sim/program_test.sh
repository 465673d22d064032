#!/usr/bin/env bash
# program_test.sh MUMOE: the whole program on simulated GPUs, whose streams lag: it trains on one and, cut both ways, on two
# and four; a run goes on on the CPU and back; what has no room on a GPU is one line; nothing but the step's end waits.
set -euo pipefail

mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../..")
# shellcheck source-path=SCRIPTDIR
source "$root/tests/launch/scripts/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 8
warmup = 2
[train]
steps = 4
batch = 4
eval_windows = 4
precision = fp64
CONFIG
export SIM_GPU_LAG=200 SIM_GPU_LAG_ONE_IN=32
quiet "$mumoe" data --config tiny.cfg --out tokens
common=(train --config tiny.cfg --data.source tokens)
losses() { python3 -c 'import json, sys
for line in open(sys.argv[1] + "/metrics.jsonl"): print("%.10f" % json.loads(line)["loss"])' "$1"; }

# as_on_cpu RUN LAYOUT WORDS...: what the words train, cut so over GPUs, has the losses of RUN, to the tenth digit; its
# folder is RUN and the layout.
as_on_cpu() {
  local run=$1 layout=$2 dp=${2%x*} tp=${2#*x}
  quiet "$root/launch/mpirun" -n $((dp * tp)) "$mumoe" "${@:3}" --parallel.tp "$tp" --train.out "$run$layout"
  [[ $(losses "$run$layout") == "$(losses "$run")" ]] ||
    wrong "$run$layout: losses $(losses "$run$layout"), on the CPU $(losses "$run")"
}
quiet "$mumoe" "${common[@]}" --train.device cpu --train.out cpu
for layout in 1x1 2x1 1x2 2x2; do
  dp=${layout%x*} tp=${layout#*x}
  SIM_GPU_COUNTS=$PWD/counts$layout as_on_cpu cpu "$layout" "${common[@]}"
  # Each GPU has the context of one rank.
  contexts=$(sed -n 's/^context on //p' "counts$layout" | sort | xargs)
  [[ $contexts == $(seq -s ' ' 0 $((dp * tp - 1))) ]] || wrong "$layout: contexts on GPUs $contexts"
  grep -q "cuda:$((dp * tp - 1)) " stdout || wrong "$layout: the last GPU is not used: $(<stdout)"
done

# How it adds.
grep -q "deterministic: the same bits each time" stdout || wrong "deterministic: $(<stdout)"
quiet "$mumoe" "${common[@]}" --train.out none --train.deterministic no
grep -q "deterministic no: bits may differ" stdout || wrong "deterministic no: $(<stdout)"
CUBLAS_WORKSPACE_CONFIG=:0:0 refused "no workspace" "CUBLAS_WORKSPACE_CONFIG=:0:0: expected :4096:8 or :16:8" \
  "$mumoe" "${common[@]}" --train.out none

# The same elements are dropped as on the CPU; eval finds the same there.
dropping=(--model.dropout 0.2 --train.recompute everything --train.steps 2)
quiet "$mumoe" "${common[@]}" "${dropping[@]}" --train.device cpu --train.out drops
for layout in 1x1 2x2; do as_on_cpu drops $layout "${common[@]}" "${dropping[@]}"; done

# near A.json B.json: all of their numbers, to the tenth digit.
near() { python3 - "$@" <<'PYTHON'
import json, sys
def numbers(value):
    if isinstance(value, dict): value = list(value.values())
    if isinstance(value, list): return sum(map(numbers, value), [])
    return [value] if isinstance(value, (int, float)) else []
a, b = (numbers(json.load(open(path))) for path in sys.argv[1:])
sys.exit(not a or len(a) != len(b) or any(abs(x - y) > 1e-10 * max(abs(x), abs(y)) for x, y in zip(a, b)))
PYTHON
}
SIM_GPU_DEVICES=0 quiet "$mumoe" eval --run cpu --json text_cpu.json
quiet "$mumoe" eval --run cpu --json text_gpu.json
near text_cpu.json text_gpu.json || wrong "eval: $(<text_gpu.json), on the CPU $(<text_cpu.json)"

# A Mixer: batch norms over all ranks, blocks that samples leave out, top-1 and top-5.
python3 - <<'PYTHON'
import os, random, struct
os.mkdir("pictures")
dice = random.Random(1)
for part, count in (("train", 40), ("t10k", 12)):
    with open(f"pictures/{part}-images-idx3-ubyte", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, count, 8, 8) + dice.randbytes(count * 64))
    with open(f"pictures/{part}-labels-idx1-ubyte", "wb") as file:
        file.write(struct.pack(">II", 0x801, count) + bytes(i % 7 for i in range(count)))
PYTHON
cat >mixer.cfg <<'CONFIG'
[model]
family = mixer
experts = 6
rank = 5
gate_norm = batch
depth = 2
width = 16
patch = 2
image_size = 8
channels = 1
classes = 7
token_hidden = 8
hidden = 24
stochastic_depth = 0.2
label_smoothing = 0.1
[data]
source = pictures
[schedule]
steps = 4
warmup = 1
[train]
steps = 3
batch = 8
precision = fp64
CONFIG
quiet "$mumoe" train --config mixer.cfg --train.device cpu --train.out mixer
for layout in 1x1 2x1 2x2; do as_on_cpu mixer $layout train --config mixer.cfg; done
SIM_GPU_DEVICES=0 quiet "$mumoe" eval --run mixer --json images_cpu.json
quiet "$root/launch/mpirun" -n 2 "$mumoe" eval --run mixer --json images_gpu.json
near images_cpu.json images_gpu.json || wrong "eval: $(<images_gpu.json), on the CPU $(<images_cpu.json)"

# On the other kind of device, as if it had stayed.
quiet "$mumoe" "${common[@]}" --train.device cpu --train.out whole --train.steps 8
cp -r cpu1x1 there
quiet "$mumoe" "${common[@]}" --train.out there --train.resume --train.steps 8 --train.device cpu
quiet "$mumoe" "${common[@]}" --train.out cpu --train.resume --train.steps 8
for run in there cpu; do
  [[ $(losses $run) == "$(losses whole)" ]] || wrong "$run goes on with $(losses $run), expected $(losses whole)"
done
# Written behind the run, from a copy on the host, and with parity: the same bytes.
written=(--train.steps 8 --checkpoint.every 2)
quiet "$root/launch/mpirun" -n 2 "$mumoe" "${common[@]}" "${written[@]}" --train.out at_once
quiet "$root/launch/mpirun" -n 2 "$mumoe" "${common[@]}" "${written[@]}" --train.out behind --checkpoint.async yes --checkpoint.parity 1
for step in 6 8; do
  for rank in 0 1; do
    cmp {at_once,behind}/checkpoints/step_0000000$step/rank_0000$rank.safetensors || wrong "behind the run: other bytes, step $step, rank $rank"
  done
done
quiet "$mumoe" inspect behind
SIM_GPU_DEVICES=0 quiet "$mumoe" sample --run cpu1x1 --tokens 8 --temperature 0
mv stdout sampled
quiet "$mumoe" sample --run cpu1x1 --tokens 8 --temperature 0
cmp -s stdout sampled || wrong "sampled: $(<stdout), on the CPU: $(<sampled)"
for precision in bf16 fp32; do
  SIM_GPU_LAG=0 quiet "$mumoe" bench kernels --tokens 8 --precision $precision --json
  [[ $(grep -c '"gb":' stdout) == 21 ]] || wrong "bench kernels, $precision: expected 21 lines: $(<stdout)"
done
# Memory that runs out: of whom, and how much.
SIM_GPU_MIB=1 refused "no room at all" "and 1.0 MiB is available on its GPU; expected a smaller model" \
  "$mumoe" "${common[@]}" --train.out none --train.micro_batch 4
SIM_GPU_MIB=80 refused "no room for weights" "and 80.0 MiB is available on its GPU; expected a smaller model" \
  "$mumoe" "${common[@]}" --train.out none --model.width 1024 --model.depth 2 --train.precision fp32
SIM_GPU_MIB=100 refused "no room for activations" \
  "and 100.0 MiB is available on its GPU; expected --train.micro_batch 32 --train.recompute everything, which would fit" \
  "$mumoe" "${common[@]}" --train.out none --train.batch 64 --train.micro_batch 64 --model.context 128 --model.depth 16
SIM_GPU_DEVICES=1 refused "two ranks, one GPU" "train.device = cuda" \
  "$root/launch/mpirun" -n 2 "$mumoe" "${common[@]}" --train.device cuda --train.out none
SIM_GPU_DEVICES=0 refused "kernels without a GPU" "mumoe bench kernels:" "$mumoe" bench kernels
SIM_GPU_DEVICES=0 quiet "$mumoe" "${common[@]}" --train.out no_gpu
grep -q " on cpu" stdout || wrong "without a GPU: $(<stdout)"
end
