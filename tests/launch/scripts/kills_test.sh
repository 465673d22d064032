#!/usr/bin/env bash
# kills_test.sh MUMOE KILL_AT_CALL: one run of four ranks, of which one is killed again and again: before each kind of call
# by which a save changes the disk (tests/fakes/kill_at_call.c), then at random instants. Each time it goes on by itself
# from at most one interval before, and in the end it is, bit for bit, the run that nobody killed. MUMOE_STRESS=1: before
# every single call, by each way to save, and 200 instants in place of 20. MUMOE_SEED draws others.
set -euo pipefail

mumoe=$(realpath "$1") preload=$(realpath "$2")
scripts=$(dirname "$(realpath "$0")")
mpirun=$(realpath "$scripts/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$scripts/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
kind = constant
steps = 100000
warmup = 2
[train]
steps = 100000
batch = 8
eval_windows = 8
precision = fp32
gemm = mkl
[checkpoint]
minutes = 0
keep = 1
[log]
every = 1000000
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
sed -i 's/^source = .*/source = tokens/' tiny.cfg
run=$folder/run
train=("$mumoe" train --config tiny.cfg --train.resume auto)
# Open MPI ends the other ranks 2 s later, of which this would wait for fifty.
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout:-0}
stress=${MUMOE_STRESS:-0}
RANDOM=${MUMOE_SEED:-$((SRANDOM % 32768))}
echo "seed: MUMOE_SEED=${MUMOE_SEED:-$RANDOM}"
RANDOM=${MUMOE_SEED:-$RANDOM}

last_step() { { grep -a '^{"step":.*}$' "$run/metrics.jsonl" 2>/dev/null || true; } | tail -n 1 | sed -n 's/^{"step":\([0-9]*\),.*/\1/p'; }
# resumed NAME: what the launch that has ended said of where it began, against what there was, in step $stood of a run that
# saved every $interval steps, or twice that: one checkpoint may be in the making behind the steps.
kills=0 stood=0 interval=0
resumed() {
  local step
  if grep -qa 'damaged  ' stdout; then wrong "$1: $(grep -a 'damaged  ' stdout)"; fi
  step=$(sed -n 's/^resumed after step \([0-9]*\) .*/\1/p' stdout)
  if [[ ! $step ]]; then
    # It was killed before it said so, or begins anew.
    grep -qa '^resume   auto: no checkpoint' stdout || return 0
    step=0
  fi
  ((stood - step <= interval)) || wrong "$1: resumed after step $step, when it stood at $stood: more than $interval steps are lost"
}
# ended NAME CODE INTERVAL: a launch that was to be killed.
ended() {
  kills=$((kills + 1))
  [[ $2 == 137 ]] || wrong "$1: code $2, expected 137: $(<stderr)"
  resumed "$1"
  local before=$stood
  stood=$(last_step)
  stood=${stood:-0}
  # One that was killed before its first step leaves what may be lost as it was.
  if ((stood != before || $3 > interval)); then interval=$3; fi
}

bound() { if [[ $2 == yes ]]; then echo $((2 * $1)); else echo "$1"; fi; }  # bound EVERY ASYNC

# ---- Before calls of a save
# at_call RANK N FROM ASYNC
at_call() {
  local code=0
  timeout -k 5 60 "$mpirun" -n 4 -x "LD_PRELOAD=$preload" -x "KILL_RANK=$1" -x "KILL_AT=$2" -x "KILL_FROM=$3" -x "KILL_LOG=$folder/calls" \
    "${train[@]}" --train.out "$run" --checkpoint.every 2 --checkpoint.async "$4" >stdout 2>stderr </dev/null || code=$?
  ended "call $2 of rank $1 from the $3 on, async $4" $code "$(bound 2 "$4")"
  tail -n 1 calls | kinds >>killed_before
  rm -f calls
}
# Names without numbers and folders.
kinds() { sed -E 's/^[0-9]+ //; s/ .*checkpoints/ checkpoints/; s/[0-9]+/N/g'; }
# calls_of RANK FROM: one a line, of a launch from its start on, or of a save that removes the one before it.
calls_of() {
  rm -rf calls counted
  quiet "$mpirun" -n 4 -x "LD_PRELOAD=$preload" -x "KILL_RANK=$1" -x "KILL_FROM=$2" -x "KILL_LOG=$folder/calls" \
    "${train[@]}" --train.out counted --checkpoint.every 2 --train.steps 4
  if [[ $2 == start ]]; then
    sed '/\.step_/,$d' calls
  else
    awk '/ (mkdir|create) .*\/(\.step_[0-9]*\.tmp|rank_00002.safetensors)$/ { n = 0; delete line }
      { line[++n] = n substr($0, index($0, " ")) } END { for (i = 1; i <= n; i++) print line[i] }' calls
  fi
  rm -f calls
}
# places: of all calls on stdin, the numbers of those to be killed before: all, or of calls of one kind in a row the first,
# and the last of three or more.
places() {
  if [[ $stress == 1 ]]; then
    cut -d ' ' -f 1
  else
    kinds | uniq -c | awk '{ print n + 1; if ($1 > 2) print n + $1; n += $1 }'
  fi
}

others=$(calls_of 2 save)
calls=$(calls_of 0 save)
start=$(calls_of 0 start)
for counted in "$others" "$calls" "$start"; do [[ $(wc -l <<<"$counted") -ge 8 ]] || wrong "too few calls: $counted"; done
ways=(no)
if [[ $stress == 1 ]]; then ways=(no yes); fi
turn=0
for way in "${ways[@]}"; do
  kill_before() {  # kill_before RANK FROM PLACE...: each time by another way to save, or all by the way of this turn
    for place in "${@:3}"; do
      turn=$((turn + 1))
      async=$way
      if [[ $stress != 1 && $((turn % 2)) == 0 ]]; then async=yes; fi
      at_call "$1" "$place" "$2" "$async"
    done
  }
  mapfile -t numbers < <(places <<<"$calls")
  kill_before 0 save "${numbers[@]}"
  mapfile -t numbers < <(places <<<"$others")
  kill_before 2 save "${numbers[@]}"
  # As it starts, a run tries whether it can save.
  if [[ $stress == 1 ]]; then mapfile -t numbers < <(places <<<"$start"); else numbers=(2 5 8); fi
  kill_before 0 start "${numbers[@]}"
done
# What a kill leaves can be a call more for the next launch: those that were missed by that are tried again.
missed_kinds() { comm -23 <(kinds <<<"$calls" | sort -u) <(sort -u killed_before); }
for ((again = 0; again < 3; again++)); do
  missed=$(missed_kinds)
  if [[ ! $missed ]]; then break; fi
  mapfile -t numbers < <(kinds <<<"$calls" | grep -nxFf <(echo "$missed") | cut -d : -f 1)
  kill_before 0 save "${numbers[@]}"
done
missed=$(missed_kinds)
[[ ! $missed ]] || wrong "killed before none of: $missed"

# ---- At any instant
pid_of() {  # of rank $1 of the run
  local pid
  for pid in $(pgrep -f -- "--train.out $run "); do
    # " (deleted)": somebody builds it anew meanwhile.
    if [[ $(readlink "/proc/$pid/exe") == "$mumoe"* ]] && tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then
      echo "$pid"
      return
    fi
  done
}
lines() { if [[ -e $run/metrics.jsonl ]]; then wc -l <"$run/metrics.jsonl"; else echo 0; fi; }
hundredths() { printf '%d.%02d' $(($1 / 100)) $(($1 % 100)); }
at_instant() {  # at_instant N: of its first steps, or now and then of its start
  local code=0 rank=$((RANDOM % 4)) async=no before after child pid=''
  before=$(lines)
  if ((RANDOM % 2)); then async=yes; fi
  timeout -k 5 60 "$mpirun" -n 4 "${train[@]}" --train.out "$run" --checkpoint.every 20 --checkpoint.async $async >stdout 2>stderr </dev/null &
  child=$!
  if (($1 % 5 == 0)); then
    after=$((RANDOM % 150))
  else
    after=$((RANDOM % 50))
    for ((i = 0; i < 3000 && $(lines) <= before; i++)); do sleep 0.01; done
  fi
  sleep "$(hundredths $after)"
  for ((i = 0; i < 500; i++)); do
    pid=$(pid_of $rank)
    if [[ $pid ]]; then break; fi
    sleep 0.01
  done
  if [[ $pid ]]; then kill -9 "$pid"; else wrong "rank $rank at instant $1: it never was there: $(<stderr)"; fi
  wait "$child" || code=$?
  ended "rank $rank at instant $1" $code "$(bound 20 $async)"
}
count=20
if [[ $stress == 1 ]]; then count=200; fi
for ((instant = 1; instant <= count; instant++)); do at_instant "$instant"; done

# ---- What came of it
steps=$((stood + 6))
quiet "$mpirun" -n 4 "${train[@]}" --train.out "$run" --train.steps $steps --checkpoint.every 2
resumed "the end"
quiet "$mpirun" -n 4 "${train[@]}" --train.out whole --train.steps $steps
differs=$(python3 "$scripts/losses.py" whole run || true)
[[ ! $differs ]] || wrong "after $kills kills: $differs"
[[ $(find run/checkpoints -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs) == "latest $(printf 'step_%08d' $steps)" ]] || wrong "left $(ls -A run/checkpoints)"
cmp -s run/checkpoints/step_*/rank_00003.safetensors whole/checkpoints/step_*/rank_00003.safetensors || wrong "other weights"
echo "killed $kills times, $steps steps"
end
