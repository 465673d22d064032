#!/usr/bin/env bash
# run_directory_test.sh MUMOE: run directories as people treat them: things of their own beside checkpoints, the same
# command twice, other settings in between, runs that crashed, places where nothing can be written.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
child=''
trap '[[ -z $child ]] || kill -9 "$child" 2>/dev/null; rm -rf "$folder"' EXIT

cat >>tiny.cfg <<'CONFIG'
[train]
steps = 4
batch = 4
eval_windows = 4
precision = fp32
gemm = mkl
[checkpoint]
every = 4
CONFIG
train=("$mumoe" train --config tiny.cfg --train.out run)
in_background() {  # in_background COMMAND...: until its first step is in run/metrics.jsonl
  rm -f run/metrics.jsonl
  "$@" >background 2>&1 </dev/null &
  child=$!
  for ((i = 0; i < 300; i++)); do [[ ! -s run/metrics.jsonl ]] || return 0; sleep 0.1; done
  wrong "no step after 30 s: $(<background)"
}
killed() { kill -9 "$child"; wait "$child" 2>/dev/null || true; child=''; }
sums() { find "$1" -type f ! -name .lock ! -name latest -exec cksum {} + | sort -k 3; }

# Names of people's own are no checkpoints, and stay.
quiet "${train[@]}"
cp -r run/checkpoints/step_00000004 run/checkpoints/step_best
cp -r run/checkpoints/step_00000004 run/checkpoints/step_2_good
cp -r run/checkpoints/step_00000004 run/checkpoints/step_00000004.bak
mkdir run/checkpoints/plots.tmp
echo mine | tee run/checkpoints/plots.tmp/plot run/checkpoints/notes.tmp >/dev/null
before=$(sums run/checkpoints)
for steps in 8 12 16; do
  quiet "${train[@]}" --train.steps $steps --schedule.steps 4 --train.resume
  grep -q "^resumed after step $((steps - 4)) from run/checkpoints/step_000000" stdout || wrong "step $steps: $(<stdout)"
done
[[ -d run/checkpoints/step_00000012 && -d run/checkpoints/step_00000016 ]] || wrong "newest: $(ls run/checkpoints)"
[[ ! -e run/checkpoints/step_00000004 ]] || wrong "not pruned: $(ls run/checkpoints)"
mkdir run/checkpoints/step_00000004
cp run/checkpoints/step_best/* run/checkpoints/step_00000004
rm -r run/checkpoints/step_0000001[26]
[[ $(sums run/checkpoints) == "$before" ]] || wrong "changed: $(ls run/checkpoints)"

# Other settings than the checkpoint's are refused before anything is fetched or measured.
refused "other settings" "--train.resume: model.width is 32, but the run in run/checkpoints/step_00000004 has 16" \
  "${train[@]}" --train.resume --model.width 32 --data.source no_such_folder

# A second run in the folder of one that goes on is refused at once, whatever it says, and touches nothing.
rm -rf run
in_background "${train[@]}" --train.steps 1000000 --schedule.steps 4 --checkpoint.every 1000000
grep -v '"step"' run/config.cfg >config.before
for again in "" "--train.resume" "--model.gate softmax"; do
  # shellcheck disable=SC2086  # words
  refused "in use $again" "train.out = run: process $child on host $(hostname) trains there" "${train[@]}" $again
done
refused "in use, two ranks" " trains there" "$mpirun" -n 2 "${train[@]}"
cmp -s run/config.cfg config.before || wrong "config.cfg changed"
kill -0 "$child" || wrong "the first run has ended: $(<background)"

# What a killed run leaves holds nothing up; its metrics, which no checkpoint covers, are kept.
killed
lines=$(wc -l <run/metrics.jsonl)
quiet "${train[@]}"
grep -q "ended before its first checkpoint; its files are kept as metrics.1.jsonl" stdout || wrong "no line: $(<stdout)"
[[ $(wc -l <run/metrics.1.jsonl) == "$lines" && $(wc -l <run/metrics.jsonl) == 4 ]] || wrong "metrics: $(wc -l run/*)"
cmp -s run/config.1.cfg config.before || wrong "config.1.cfg is not that of the first run"

# The settings of the checkpoint are those of its weights, whatever config.cfg says.
quiet "$mumoe" sample --run run --prompt "Speech" --tokens 20 --seed 3
cp stdout sampled
[[ ! -s stderr ]] || wrong "a note without need: $(<stderr)"
sed -i 's/^gate = entmax15/gate = softmax/; s/^heads = 2/heads = 4/' run/config.cfg
quiet "$mumoe" sample --run run --prompt "Speech" --tokens 20 --seed 3
cmp stdout sampled || wrong "sampled with another gate"
grep -q "model.gate = softmax in run/config.cfg, entmax15 in the checkpoint" stderr || wrong "no note: $(<stderr)"
[[ $(wc -l <stderr) == 2 ]] || wrong "expected a line a key: $(<stderr)"

rm run/config.cfg
quiet "$mumoe" sample --run run --prompt "Speech" --tokens 20 --seed 3
cmp stdout sampled || wrong "sampled with another configuration"
grep -q "run/config.cfg: is not there; the checkpoint's settings are taken$" stderr || wrong "no note: $(<stderr)"

# A copy under another number is not the newest checkpoint.
cp -r run/checkpoints/step_00000004 run/checkpoints/step_00000012
quiet "${train[@]}" --train.resume
grep -q "step_00000012: holds the state after step 4; expected it under the name step_00000004; step_00000004 is taken instead$" stdout ||
  wrong "a copy: $(<stdout)"
rm -r run/checkpoints/step_00000012
quiet "${train[@]}" --train.resume
grep -q "^resumed after step 4 .*: no step is left of train.steps = 4$" stdout || wrong "nothing left: $(<stdout)"
for resume in yes auto; do
  refused "resuming nothing" "train.out = auto; expected the folder of the run" "$mumoe" train --config tiny.cfg --train.resume $resume
done
for out in run/checkpoints run/checkpoints/step_00000004 ./run/checkpoints/ run/checkpoints/new; do
  refused "a part of a run" "train.out = $out: is a part of the run in $PWD/run; expected that folder" \
    "$mumoe" train --config tiny.cfg --train.out $out
done

# A person's configuration in the folder of a new run is kept; what is no file of the run stops it before it writes.
mkdir own
{ echo "# mine"; cat tiny.cfg; } >own/config.cfg
cp own/config.cfg own.before
quiet "$mumoe" train --config own/config.cfg --train.out own
cmp own/config.1.cfg own.before || wrong "a person's config.cfg is not kept: $(ls own)"
mkdir -p odd/metrics.jsonl
refused "a folder for a file" "odd/metrics.jsonl: is in the place of a file of the run" "$mumoe" train --config tiny.cfg --train.out odd
[[ ! -e odd/config.cfg && ! -e odd/checkpoints ]] || wrong "a refused run wrote: $(ls odd)"
# The limit of a file's size is an error of writing.
code=0
(ulimit -f 40; timeout 60 "$mumoe" train --config tiny.cfg --train.out limited >stdout 2>stderr </dev/null) || code=$?
[[ $code == 2 && $(wc -l <stderr) == 1 ]] || wrong "a file too large: code $code: $(<stderr)"

# Places where no checkpoint can be written are found before the first step.
rm -rf run
mkdir run
touch run/checkpoints
refused "checkpoints is a file" "run/checkpoints: checkpoints cannot be written here" "${train[@]}"
rm run/checkpoints
ln -s nowhere/at/all run/checkpoints
refused "checkpoints leads nowhere" "run/checkpoints: checkpoints cannot be written here" "${train[@]}"
rm run/checkpoints
mkdir -p run/checkpoints/step_00000004
touch run/checkpoints/step_00000004/mine
refused "a name in the way" "step_00000004: is in the place of a checkpoint to come" "${train[@]}"
[[ ! -e run/config.cfg && ! -e run/metrics.jsonl ]] || wrong "a refused run wrote: $(ls run)"

# What is not kept is said.
quiet "$mumoe" train --config tiny.cfg --train.out none
grep -q "^out      none: nothing of this run will be kept$" stdout || wrong "no line: $(<stdout)"
quiet "$mumoe" train --config tiny.cfg --train.out kept --checkpoint.every 0
grep -q "^out      kept: checkpoints every 15 minutes, at the end" stdout || wrong "no line: $(<stdout)"

end
