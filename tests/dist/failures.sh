#!/usr/bin/env bash
# failures.sh MPIRUN PROGRAM CODE TEXT HOW [MODE]
# Two ranks, of which rank 1 fails as HOW in MODE (see PROGRAM). The job must end within 15 s with
# exit code CODE ("any": not 0), print a line that matches TEXT, and leave no
# process behind.
set -uo pipefail
mpirun=$1 program=$2 code=$3 text=$4 how=("${@:5}")

output=$(mktemp)
trap 'rm -f "$output"' EXIT
start=$(date +%s%N)
timeout 30 "$mpirun" -n 2 "$program" "${how[@]}" >"$output" 2>&1
found=$?
milliseconds=$((($(date +%s%N) - start) / 1000000))
cat "$output"
echo "${how[*]}: code $found after $milliseconds ms"

failed=0
complain() { echo "FAILED: $*"; failed=1; }
((milliseconds < 15000)) || complain "expected an end within 15 s"
if [[ $code == any ]]; then
  ((found != 0)) || complain "expected a code other than 0"
else
  ((found == code)) || complain "expected code $code"
fi
grep -Eq -- "$text" "$output" || complain "no line matches $text"
pids=$(sed -n 's/^pid //p' "$output")
(($(wc -w <<<"$pids") == 2)) || complain "expected two ranks, found: $pids"
sleep 0.2
for pid in $pids; do  # one that has ended and waits for its parent is Z
  state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
  [[ -z $state || $state == [ZX]* ]] || complain "process $pid is still there: $state"
done
exit $failed
