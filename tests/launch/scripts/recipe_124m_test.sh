#!/usr/bin/env bash
# recipe_124m_test.sh MUMOE: one real step of the 124M recipe on real text, with a batch that two cores can bear, in the
# memory that the start table says.
set -euo pipefail

measure='import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("held", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)'
said=$(python3 -c "$measure" "$1" train --config "$(dirname "$0")/../../../configs/gpt2_124m_cp.cfg" --train.steps 1 \
  --train.batch 1 --train.micro_batch 1 --train.eval_windows 1 --train.out none)
echo "$said"
grep -q '124789536 parameters' <<<"$said"
# An untrained model spreads its bets over 50304 tokens: ln 50304 = 10.83.
loss=$(sed -n 's/^step 1\/1 | loss \([0-9.]*\).*/\1/p' <<<"$said")
awk -v loss="$loss" 'BEGIN { exit !(loss > 10.6 && loss < 11.2) }'
# The largest size, in KiB; the libraries' pages of the end are in it.
about=$(sed -n 's/^memory   about \([0-9.]*\) GiB a rank.*/\1/p' <<<"$said")
held=$(sed -n 's/^held \([0-9]*\)$/\1/p' <<<"$said")
awk -v about="$about" -v held="$held" 'BEGIN { exit !(about > 0.88 * held / 2 ^ 20 && about < 1.12 * held / 2 ^ 20) }'
