#!/usr/bin/env bash
# start_test.sh MUMOE: where a run keeps what it makes, unless told, and where its settings come from: the default recipe, or
# the run that it goes on from.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
recipe=$(realpath "$(dirname "$0")/../../../configs/gpt2_cp_small.cfg")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16

cat >>tiny.cfg <<'CONFIG'
[train]
steps = 4
batch = 4
eval_windows = 4
precision = fp32
gemm = mkl
CONFIG
train=("$mumoe" train --config tiny.cfg)
said() { grep -qE -- "$2" stdout || wrong "$1: expected '$2' in: $(<stdout)"; }
steps() { wc -l <"$1/metrics.jsonl"; }

# ---- A run is kept: in the first folder of its name that is free, whatever is there.
quiet "${train[@]}"
said "first" "^out      runs/tiny-1: checkpoints every 15 minutes, at the end"
said "first" "; run directory runs/tiny-1$"
said "first" "^memory   about [0-9.]+ [KMG]iB a rank: weights [0-9.]+ KiB, gradients .*, program [0-9.]+ MiB$"
[[ -s runs/tiny-1/checkpoints/step_00000004/manifest.json ]] || wrong "first: saved nothing"
grep -q "^out = runs/tiny-1$" runs/tiny-1/config.cfg || wrong "first: $(grep out runs/tiny-1/config.cfg)"
touch runs/tiny-2
ln -s nowhere runs/tiny-3
quiet "$mpirun" -n 2 "${train[@]}"
said "two ranks" "^out      runs/tiny-4: "
[[ -s runs/tiny-4/checkpoints/step_00000004/manifest.json ]] || wrong "two ranks: saved nothing"
# Several that begin at once have a folder each.
children=()
for ((i = 0; i < 4; i++)); do
  timeout -k 5 60 "${train[@]}" --train.seed "$i" >out.$i 2>&1 </dev/null &
  children+=($!)
done
for ((i = 0; i < 4; i++)); do wait "${children[i]}" || wrong "at once, $i: code $?: $(<out.$i)"; done
for ((i = 5; i < 9; i++)); do [[ $(steps runs/tiny-$i) == 4 ]] || wrong "at once: no run in runs/tiny-$i: $(ls runs)"; done
[[ $(sed -n 's/^seed = //p' runs/tiny-[5-8]/config.cfg | sort -u | wc -l) == 4 ]] || wrong "at once: two runs in one folder"
# A run that is refused makes none; nor does one that says so, or a rank alone.
for options in "--data.source nowhere" "--train.batch 0" "--parallel.dp 2"; do
  # shellcheck disable=SC2086  # words
  refused "refused $options" "" "${train[@]}" $options
done
quiet "${train[@]}" --train.out none
quiet "${train[@]}" --parallel.backend null --parallel.dp 2
[[ $(ls runs) == $(printf 'tiny-%d\n' {1..8}) ]] || wrong "made a folder: $(ls runs)"
[[ ! -e none && ! -e auto ]] || wrong "a folder was made: $(ls)"
refused "no name" "train.out = : expected a folder, auto (runs/NAME-1 and so on), or none" "${train[@]}" --train.out=
mkdir elsewhere
touch elsewhere/runs
refused "no room" "train.out = runs/tiny: cannot create" env -C elsewhere "$mumoe" train --config ../tiny.cfg --data.source ../corpus

# ---- Without a configuration: the default recipe, also of a program that is installed somewhere.
small=(--data.source corpus --train.steps 2 --schedule.steps 2 --schedule.warmup 1 --train.batch 2 --train.eval_windows 2
  --train.precision fp32 --train.gemm mkl)
quiet "$mumoe" train "${small[@]}"
said "recipe" "^config   the default recipe, a small GPT-2: no --config was given$"
said "recipe" "^         command line: data.source, schedule.steps, "
said "recipe" "^model    GPT-2, 4 blocks of width 256, .* cp mixtures of 64 experts"
said "recipe" "^out      runs/default-1: "
"$mumoe" train --print-config >printed
"$mumoe" train --config "$recipe" --print-config | sed "s|# $recipe|# default recipe|" | cmp - printed ||
  wrong "the default recipe is not configs/gpt2_cp_small.cfg: $(<printed)"

# ---- A run goes on by its own configuration; the command line wins.
go_on=("$mumoe" train --train.out runs/tiny-1 --train.resume)
quiet "${go_on[@]}" --train.steps 6
said "own" "^config   runs/tiny-1/config.cfg, the run's own$"
said "own" "^resumed after step 4 from runs/tiny-1/checkpoints/step_00000004$"
[[ $(steps runs/tiny-1) == 6 ]] || wrong "own: $(steps runs/tiny-1) steps"
mv runs/tiny-1 moved
quiet "$mpirun" -n 2 "$mumoe" train --train.out moved --train.resume yes --train.steps 8
said "moved" "^config   moved/config.cfg, the run's own$"
[[ $(steps moved) == 8 && ! -e runs/tiny-1 ]] || wrong "moved: $(ls moved runs)"
"$mumoe" train --train.out moved --train.resume --train.seed 3 --print-config >printed
grep -qE "^width = 16 +# moved/config.cfg$" printed || wrong "origin: $(grep width printed)"
grep -qE "^seed = 3 +# command line$" printed || wrong "origin: $(grep seed printed)"
refused "another seed" "train.seed is 3, but the run in" "$mumoe" train --train.out moved --train.resume --train.seed 3
# Time goes on across all of them, with the wait between them in `time` alone; older lines have none.
cat >times.py <<'PYTHON'
import datetime, json
lines = [json.loads(line) for line in open("moved/metrics.jsonl")]
elapsed = [line["elapsed_s"] for line in lines[5:]]
times = [datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")) for line in lines[5:]]
assert len(lines) == 9 and len(elapsed) == 4 and elapsed[0] >= sum(line["step_ms"] for line in lines[:6]) / 1e3 - 1e-6
assert all(a < b for a, b in zip(elapsed, elapsed[1:])) and times == sorted(times), (elapsed, times)
assert elapsed[-1] - elapsed[0] < (times[-1] - times[0]).total_seconds() + 1, (elapsed, times)
assert abs((datetime.datetime.now(datetime.timezone.utc) - times[-1]).total_seconds()) < 300, times
PYTHON
sed -i '1,5s/,"elapsed_s":[^,]*,"time":"[^"]*"//' moved/metrics.jsonl
grep -qv elapsed_s moved/metrics.jsonl || wrong "no older lines: $(<moved/metrics.jsonl)"
rm -r moved/checkpoints/step_00000008
quiet "$mumoe" train --train.out moved --train.resume --train.steps 9
python3 times.py 2>stderr || wrong "times: $(tail -n 1 stderr)"

mv moved/config.cfg kept.cfg
refused "no configuration" "--train.resume: moved/config.cfg is not there" "$mumoe" train --train.out moved --train.resume
quiet "$mumoe" train --train.out moved --train.resume --config kept.cfg
refused "nothing there" "nowhere/checkpoints holds no checkpoint" "$mumoe" train --train.out nowhere --train.resume
[[ ! -e nowhere ]] || wrong "nowhere was made"
: >moved/config.cfg
refused "an empty configuration" "moved/config.cfg: holds no settings" "$mumoe" train --train.out moved --train.resume auto

# ---- auto: the same command starts, goes on, and ends when there is nothing left to do.
always=("${train[@]}" --train.out always --train.resume auto)
quiet "$mpirun" -n 2 "${always[@]}"
said "auto starts" "^resume   auto: no checkpoint is there, so from the start$"
[[ $(steps always) == 4 ]] || wrong "auto starts: $(steps always) steps"
before=$(cksum always/metrics.jsonl always/checkpoints/*/*)
quiet "$mpirun" -n 2 "${always[@]}"
said "auto has ended" "^resumed after step 4 .*: no step is left of train.steps = 4$"
said "auto has ended" "^done: 4 steps, validation loss .*; run directory always$"
[[ $(cksum always/metrics.jsonl always/checkpoints/*/*) == "$before" ]] || wrong "auto has ended: the run changed"
quiet "$mumoe" train --train.out always --train.resume auto --train.steps 5
[[ $(steps always) == 5 ]] || wrong "auto goes on: $(steps always) steps"
# A damaged checkpoint is no reason to start anew.
rm -r always/checkpoints/step_0000000[0-4]
state=always/checkpoints/step_00000005/rank_00000.safetensors
truncate -s -9 $state
refused "damaged" "$state" "$mumoe" train --train.out always --train.resume auto --train.steps 6
refused "not one of the words" "train.resume = maybe: expected yes or no, or auto" "${train[@]}" --train.resume maybe

end
