#!/usr/bin/env bash
# full_disk_test.sh MUMOE: a disk that takes no more, or nothing at all. The run says so and goes on, or stops if it is to;
# what was saved stays whole, and nothing half-written is left. As root on real disks that are full and read-only too.
set -euo pipefail

mumoe=$(realpath "$1")
scripts=$(dirname "$(realpath "$0")")
mpirun=$(realpath "$scripts/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$scripts/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 8
warmup = 2
[train]
steps = 8
batch = 8
eval_windows = 8
precision = fp64
gemm = mkl
[checkpoint]
every = 2
minutes = 0
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
sed -i 's/^source = .*/source = tokens/' tiny.cfg
train=(train --config tiny.cfg)

# left NAME FOLDER STEP...: these checkpoints and nothing half-written, each read whole.
left() {
  local found expected=()
  for step in "${@:3}"; do expected+=("step_0000000$step"); done
  found=$(cd "$2/checkpoints" && ls -A -I latest)
  [[ ${found//$'\n'/ } == "${expected[*]}" ]] || wrong "$1: left $found, expected ${expected[*]}"
  for step in "${@:3}"; do quiet "$mumoe" sample --run "$2" --checkpoint "$step" --tokens 1; done
}
# fails NAME TEXT COMMAND...: code 2 and one line, that ends a run at its end or before; the warnings are in stdout.
fails() { refused "$@"; }

# ---- A quota: one file may not be so long.
cat >quota.sh <<'QUOTA'
#!/usr/bin/env bash
trap '' XFSZ  # what a quota makes of a write
ulimit -f 60
exec "$@"
QUOTA
chmod +x quota.sh
quiet "$mumoe" "${train[@]}" --train.out quota --train.steps 4
cp -r quota before
fails "a quota" "step 8 is not saved: quota/checkpoints/.step_00000008.tmp/rank_00000.safetensors: cannot write: File too large" \
  ./quota.sh "$mumoe" "${train[@]}" --train.out quota --train.resume
[[ $(grep -c '^warning: step [68] is not saved: .*: File too large' stdout) == 2 ]] || wrong "a quota: $(grep -a warning stdout)"
[[ $(wc -l <quota/metrics.jsonl) -ge 8 ]] || wrong "a quota: $(wc -l <quota/metrics.jsonl) lines"
left "a quota" quota 2 4
quiet "$mumoe" "${train[@]}" --train.out quota --train.resume
left "without it" quota 6 8
quiet "$mumoe" "${train[@]}" --train.out whole
differs=$(python3 "$scripts/losses.py" whole quota || true)
[[ ! $differs ]] || wrong "a quota, resumed: $differs"
rm -rf quota
mv before quota
fails "a quota, stop" "step 6 is not saved: quota/checkpoints/.step_00000006.tmp/rank_00000.safetensors: cannot write: File too large; checkpoint.on_failure = stop" \
  ./quota.sh "$mumoe" "${train[@]}" --train.out quota --train.resume --checkpoint.on_failure stop
left "a quota, stop" quota 2 4

# ---- A name in the way of one save, by any rank.
mkdir -p way/checkpoints
touch way/checkpoints/.step_00000004.tmp
quiet "$mpirun" -n 2 "$mumoe" "${train[@]}" --train.out way --checkpoint.keep 3 --checkpoint.async yes
grep -q '^warning: step 4 is not saved: way/checkpoints/.step_00000004.tmp: ' stdout || wrong "in the way: $(grep -a warning stdout)"
[[ $(cd way/checkpoints && ls -A -I latest) == ".step_00000004.tmp step_00000002 step_00000006 step_00000008" ]] ||
  [[ $(cd way/checkpoints && echo .step* step*) == ".step_00000004.tmp step_00000002 step_00000006 step_00000008" ]] ||
  wrong "in the way: left $(ls -A way/checkpoints)"

# ---- Disks of their own
if ((EUID == 0)); then
  mkdir disk
  trap 'umount -lq disk/run/checkpoints disk 2>/dev/null || true; rm -rf "$folder"' EXIT
  mount -t tmpfs -o size=700k tmpfs disk
  # until FILE PATTERN: 20 s at most
  until_said() { for ((i = 0; i < 2000; i++)); do if grep -qa "$2" "$1" 2>/dev/null; then return; fi; sleep 0.01; done; wrong "$1 never said $2: $(<"$1")"; }
  # in_the_background OPTION...: a run of two ranks that ends when it is asked to.
  in_the_background() {
    timeout -k 5 60 "$mpirun" -n 2 "$mumoe" "${train[@]}" --train.out disk/run --train.steps 100000 --log.every 1000000 "$@" >stdout 2>stderr </dev/null &
    child=$!
  }
  # ended NAME: that run, which is asked to; its last step is saved and nothing half-written is there.
  ended() {
    local code=0
    kill -TERM "$child"
    wait "$child" || code=$?
    [[ $code == 3 && ! -s stderr ]] || wrong "$1: code $code, $(<stderr)"
    [[ ! $(find disk/run/checkpoints -mindepth 1 -maxdepth 1 ! -name 'step_*' ! -name latest) ]] || wrong "$1: left $(ls -A disk/run/checkpoints)"
    quiet "$mumoe" sample --run disk/run --tokens 1
    [[ ! -s stderr ]] || wrong "$1: $(<stderr)"
  }
  in_the_background --checkpoint.every 20
  until_said disk/run/metrics.jsonl '"save_step":20,'
  dd if=/dev/zero of=disk/filler bs=1k count=700 2>/dev/null || true
  until_said stdout '^warning: step [0-9]* is not saved: disk/run/checkpoints/.*: No space left on device'
  [[ $(find disk/run/checkpoints -name 'step_*' | wc -l) == [12] ]] || wrong "full: left $(ls -A disk/run/checkpoints)"
  rm disk/filler
  failed=$(sed -n 's/^warning: step \([0-9]*\) is not saved.*/\1/p' stdout | tail -n 1)
  for ((i = 0; i < 1000; i++)); do
    if (($(<disk/run/checkpoints/latest tr -dc 0-9 | sed 's/^0*//') > failed)); then break; fi
    sleep 0.01
  done
  ((i < 1000)) || wrong "full: nothing was saved after step $failed, when there was room"
  ended full
  umount disk

  mount -t tmpfs -o size=8m tmpfs disk
  mkdir -p disk/run/checkpoints
  mount --bind disk/run/checkpoints disk/run/checkpoints
  again() { for ((i = 0; i < 2000; i++)); do if mount -o "remount,bind,$1" disk/run/checkpoints 2>/dev/null; then return; fi; sleep 0.005; done; wrong "cannot mount $1"; }
  again ro
  refused "read-only" "disk/run/checkpoints: checkpoints cannot be written here: " "$mumoe" "${train[@]}" --train.out disk/run
  [[ $(find disk/run -type f ! -name .lock) == '' ]] || wrong "read-only: wrote $(find disk/run -type f)"
  again rw
  in_the_background --checkpoint.every 20 --checkpoint.async yes
  until_said disk/run/metrics.jsonl '"save_step":20,'
  again ro
  until_said stdout '^warning: step [0-9]* is not saved: disk/run/checkpoints/.*: Read-only file system'
  again rw
  sleep 0.2
  ended "read-only"
  umount disk/run/checkpoints
  umount disk
else
  echo "not root: disks that are full and read-only are left out"
fi
end
