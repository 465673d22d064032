# shellcheck shell=bash
# source tiny_model.sh DEPTH WIDTH: common.sh, with a corpus and the first sections of tiny.cfg in the folder. Nothing is
# prepared or cached outside.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
export MUMOE_CACHE=$folder/cache

mkdir corpus
for ((i = 10; i < 32; i++)); do
  for ((j = 0; j < 12; j++)); do echo "Speech $i, line $j: we hold that $((i * j)) of these truths are plain."; done >corpus/$i.txt
done
cat >tiny.cfg <<CONFIG
[model]
depth = $1
heads = 2
width = $2
context = 16
experts = 6
rank = 5
[data]
source = corpus
CONFIG
