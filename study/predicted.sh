#!/usr/bin/env bash
# study/predicted.sh [MUMOE] >study/predicted.md
# What `mumoe plan` says of GPT-2 124M and 1.5B, dense, CP and TR, on 8 to 4,096 H100, beside what others have published.
set -euo pipefail

cd "$(dirname "$0")/.."
mumoe=${1:-build/release/mumoe}
gpus_of() { echo $(($1 * 8)); }

cat <<'HEAD'
# Predicted: GPT-2 124M and 1.5B on H100

Made by `study/predicted.sh build/release/mumoe >study/predicted.md`. Nobody has run this
program on these machines: times are those of `mumoe plan` with its default rates and the
constants of `predict/machines.json`, nine of ten within 0.74 to 1.34 times. The fastest
layout of each is shown, among all dp x tp, plans, ZeRO, micro-batches and recomputation.
MFU counts the model's own FLOPs, SoL the products that are computed. Slow ranks and a
network that others use are not in it: of 64 to 512 A100, 10 measured runs took 11 %
longer than was predicted from 8 (predict/README.md).

HEAD
row() {  # row NAME CONFIG NODES BATCH MACHINE OPTION...
  local name=$1 config=$2 nodes=$3 batch=$4 machine=$5
  "$mumoe" plan --config "$config" --machine "$machine" --nodes "$nodes" --train.batch "$batch" "${@:6}" --json - |
    NAME=$name GPUS=$((nodes * 8)) BATCH=$batch python3 -c '
import json, os, sys
plan = json.load(sys.stdin)["possible"][0]
step = plan["step_s"]
layout = "{} x {}{}, zero {}, micro {}, recompute {}".format(
    plan["dp"], plan["tp"], " " + plan["plan"] if plan["tp"] > 1 else "", plan["zero"], plan["micro_batch"], plan["recompute"])
print("| {} | {} | {:,} | {} | {:.1f} | {:.4g} | {:.3g} | {:.0f} | {:.0f} |".format(
    os.environ["NAME"], os.environ["GPUS"], int(os.environ["BATCH"]) * 1024, layout, plan["memory_bytes"] / 1e9,
    1e3 * step["predicted"], plan["targets_per_s"], 100 * plan["mfu"], 100 * plan["sol"]))'
}
head_of() {
  printf '| model | GPUs | tokens a step | dp x tp and the rest | GB a GPU | ms a step | tokens/s | MFU %% | SoL %% |\n'
  printf '|---|---|---|---|---|---|---|---|---|\n'
}
xl=(--model.depth 48 --model.width 1600 --model.heads 25)
for scaling in weak strong; do
  if [[ $scaling == weak ]]; then
    printf '## Weak scaling: 64 windows of 1024 tokens a GPU (124M), 128 (1.5B)\n\n'
  else
    printf '\n## Strong scaling: 1,048,576 tokens a step, 1.5B\n\n'
  fi
  head_of
  for size in 124M 1.5B; do
    if [[ $scaling == strong && $size == 124M ]]; then continue; fi
    for form in dense cp tr; do
      for nodes in 1 8 64 512; do
        if [[ $scaling == strong ]] && ((nodes > 64)); then continue; fi
        gpus=$(gpus_of $nodes)
        if [[ $size == 124M ]]; then
          row "124M $form" configs/gpt2_124m_$form.cfg $nodes $((64 * gpus)) h100-80g
        else
          batch=$((128 * gpus))
          if [[ $scaling == strong ]]; then batch=1024; fi
          row "1.5B $form" configs/gpt2_124m_$form.cfg $nodes $batch h100-80g "${xl[@]}"
        fi
      done
    done
  done
done
printf '\n## What others have published, and what this says of the same\n\n'
head_of
row "124M dense on 8 A100" configs/gpt2_124m_dense.cfg 1 512 a100-80g
row "1.5B dense" configs/gpt2_124m_dense.cfg 1 1024 h100-80g "${xl[@]}"
cat <<'TAIL'

| published | hardware | what |
|---|---|---|
| llm.c, 124M, 524,288 tokens a step | 8 A100-80 SXM | about 300 ms a step, 1.75 M tokens/s, 56 % MFU by its own formula |
| llm.c, 1558M, 1,048,576 tokens a step | 8 H100 | 2.80 s a step, 0.374 M tokens/s, 46 % MFU |
| LLM.Q b77d969, 1.5B | 8 H100 | 55 % of the products-only peak |
| torchtitan, Llama-3.1 8B, FSDP | 8 to 128 H100 (500 W) | 5,762 to 5,605 tokens/s a GPU: 97 % weak scaling; 33 to 39 % MFU |
| Megatron-LM, 2B to 462B | 96 to 4,608 H100 | up to 47 % MFU; strong scaling from 47 % to 42 % |
TAIL
