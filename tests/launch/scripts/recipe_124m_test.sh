#!/usr/bin/env bash
# recipe_124m_test.sh MUMOE: one real step of the 124M recipe on real text, with a batch that two cores can bear.
set -euo pipefail

said=$("$1" train --config "$(dirname "$0")/../../../configs/gpt2_124m_cp.cfg" --train.steps 1 --train.batch 1 \
  --train.micro_batch 1 --train.eval_windows 1 --train.out none)
echo "$said"
grep -q '124789536 parameters' <<<"$said"
# An untrained model spreads its bets over 50304 tokens: ln 50304 = 10.83.
loss=$(sed -n 's/^step 1\/1 | loss \([0-9.]*\).*/\1/p' <<<"$said")
awk -v loss="$loss" 'BEGIN { exit !(loss > 10.6 && loss < 11.2) }'
