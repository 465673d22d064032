#!/usr/bin/env bash
# Tests launch/mpirun: exit codes, clean stderr, signals, environment, and MPICH's mpirun in OpenMPI's place.
# shellcheck disable=SC2016  # the ranks expand their own variables
set -euo pipefail

mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset OMP_NUM_THREADS "${!MUMOE_@}"  # launch/mpirun passes them on
failures=0
# expect NAME CODE STDERR COMMAND...: runs it and compares the exit code and all of stderr; stdout is left in ./out.
expect() {
  local name=$1 code=$2 stderr=$3 got=0
  shift 3
  timeout -k 5 60 "$@" >out 2>err </dev/null || got=$?
  if [[ $got != "$code" || $(<err) != "$stderr" ]]; then
    echo "$name: expected code $code and stderr '$stderr', got code $got and '$(<err)'"
    failures=$((failures + 1))
  fi
}
says() {  # says NAME TEXT: compares the sorted lines of ./out
  [[ $(sort out | paste -sd ' ') == "$2" ]] || { echo "$1: expected '$2', got '$(<out)'"; failures=$((failures + 1)); }
}
rank="\$OMPI_COMM_WORLD_RANK"

expect success 0 "" "$mpirun" -n 2 bash -c "echo rank $rank"
says success "rank 0 rank 1"
expect "more ranks than cores" 0 "" "$mpirun" -n $(($(nproc) + 1)) true
expect "a rank fails" 4 "lost" "$mpirun" -n 2 bash -c "[[ $rank == 0 ]] || { echo lost >&2; exit 4; }"
expect "a rank is killed" 137 "launch/mpirun: a rank was killed by signal 9 (SIGKILL)" "$mpirun" -n 2 bash -c "[[ $rank == 1 ]] && kill -9 \$\$; exec sleep 30"
expect "no program" 2 "launch/mpirun: ./none: no such program" "$mpirun" -n 2 ./none
expect "no count" 2 "launch/mpirun: -n x: expected -n RANKS PROGRAM [ARGUMENTS]" "$mpirun" -n x true
expect "threads are left to the ranks" 0 "" "$mpirun" -n 2 bash -c 'echo "${OMP_NUM_THREADS:-none}"'
says "threads are left to the ranks" "none none"
expect "threads are kept" 0 "" env OMP_NUM_THREADS=3 "$mpirun" -n 1 bash -c 'echo "$OMP_NUM_THREADS ${MUMOE_TTY:-pipe}"'
says "threads are kept" "3 pipe"

# One SIGTERM comes to the ranks as SIGUSR1 and leaves them the time they need.
cat >saver <<'RANK'
#!/usr/bin/env bash
trap 'sleep 2; echo saved; touch "saved.$OMPI_COMM_WORLD_RANK"; while [[ ! -e saved.0 || ! -e saved.1 ]]; do sleep 0.1; done; exit 3' USR1
touch "ready.$OMPI_COMM_WORLD_RANK"
while :; do sleep 0.1; done
RANK
chmod +x saver
"$mpirun" -n 2 ./saver >out 2>err </dev/null &
job=$!
for ((i = 0; i < 300; i++)); do [[ -e ready.0 && -e ready.1 ]] && break; sleep 0.1; done
kill -TERM "$job"
got=0
wait "$job" || got=$?
[[ $got == 3 ]] || { echo "SIGTERM: expected code 3, got $got"; failures=$((failures + 1)); }
says SIGTERM "saved saved"

# One that comes before the ranks take SIGUSR1 for a request finds nothing to save.
for signal in TERM USR1; do
  rm -f ready.*
  "$mpirun" -n 2 bash -c 'touch "ready.$OMPI_COMM_WORLD_RANK"; exec sleep 30' >out 2>err </dev/null &
  job=$!
  for ((i = 0; i < 300; i++)); do [[ -e ready.0 && -e ready.1 ]] && break; sleep 0.1; done
  kill -"$signal" "$job"
  got=0
  wait "$job" || got=$?
  [[ $got == 3 && $(<err) == "launch/mpirun: stopped before the ranks could save" ]] ||
    { echo "SIG$signal at the start: expected code 3 and a line, got $got: $(<err)"; failures=$((failures + 1)); }
done

# A closed terminal asks to save, however often it says so.
rm -f ready.* saved.*
"$mpirun" -n 2 ./saver >out 2>err </dev/null &
job=$!
for ((i = 0; i < 300; i++)); do [[ -e ready.0 && -e ready.1 ]] && break; sleep 0.1; done
kill -HUP "$job"
sleep 2.2
kill -HUP "$job" 2>/dev/null || true
got=0
wait "$job" || got=$?
[[ $got == 3 ]] || { echo "SIGHUP: expected code 3, got $got: $(<err)"; failures=$((failures + 1)); }
says SIGHUP "saved saved"

# The line that ends the filter is not passed on, though a busy machine may deliver it in two pieces.
end=$'\001end of 5'
eval "$(sed -n '/^pass_on()/,/^}/p' "$mpirun")"
known_line() { return 1; }
{ printf 'said\n%s' "$end"; sleep 1; printf '\n'; } | pass_on >out
[[ $(<out) == said ]] || { echo "the end in two pieces: '$(<out)'"; failures=$((failures + 1)); }

# MPICH knows none of OpenMPI's options.
mkdir bin
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "HYDRA build details:"; else printf '%s\n' "$*"; exit 4; fi
FAKE
chmod +x bin/mpirun
expect MPICH 4 "" env PATH="$PWD/bin:$PATH" "$mpirun" -n 2 true --flag
says MPICH "-n 2 true --flag"

# A host that is lost is a communication failure; on one host the code means nothing of the kind.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; else printf '%s\n' "$OMPI_MCA_oob_tcp_keepalive_time $*"; exit 205; fi
FAKE
expect "lost host" 5 "launch/mpirun: the connection to a host was lost; all ranks were ended" \
  env PATH="$PWD/bin:$PATH" MUMOE_PIN=no "$mpirun" -n 2 --hostfile hosts true
says "lost host" "10 --bind-to none -x MUMOE_PIN -n 2 --hostfile hosts true"
expect "code of one host" 205 "" env PATH="$PWD/bin:$PATH" OMPI_MCA_oob_tcp_keepalive_time=7 "$mpirun" -n 2 true
says "code of one host" "7 --bind-to none -q --oversubscribe -n 2 true"

# What Open MPI says of an end that the ranks tell goes to a file; what says where something failed stays, as do the ranks'
# own lines, also between those of a box, and a last line without an end. A process that holds the pipe holds nobody up.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; exit; fi
rule=$(printf '%074d' 0 | tr 0 -)
box() { printf '%s\n' "$rule" "$@" "$rule"; }
exec >&2
echo "mumoe: first"
echo "[vm:4711] Read -1, expected 131072, errno = 1"
echo "[vm][[3127,1],0][btl_tcp_frag.c:241:mca_btl_tcp_frag_recv] mca_btl_tcp_frag_recv: readv failed: Connection reset by peer (104)"
echo "[vm:4711] PMIX ERROR: UNREACHABLE in file ../../../src/server/pmix_server.c at line 2198"
box "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD" "with errorcode 5." "" "mumoe: inside" "You may or may not see"
box "Primary job  terminated normally, but 1 process returned" "a non-zero exit code."
box "ORTE was unable to reliably start one or more daemons." "This usually is caused by:"
echo "[vm:4711] a warning of something else"
box $(seq 30)
sleep 60 &
printf "no end"
exit 5
FAKE
begin=$SECONDS
rule=$(printf '%074d' 0 | tr 0 -)
expect "noise" 5 "mumoe: first
mumoe: inside
$rule
ORTE was unable to reliably start one or more daemons.
This usually is caused by:
$rule
[vm:4711] a warning of something else
$rule
$(seq 30)
$rule
no end" env PATH="$PWD/bin:$PATH" MUMOE_CACHE="$PWD/cache" "$mpirun" -n 2 true
((SECONDS - begin < 30)) || { echo "noise: waited $((SECONDS - begin)) s for a process that was left behind"; failures=$((failures + 1)); }
for text in "Read -1, expected" "readv failed" "PMIX ERROR" "MPI_ABORT was invoked" "with errorcode 5" "Primary job"; do
  grep -q "$text" cache/mpirun.log || { echo "noise: no '$text' in mpirun.log: $(<cache/mpirun.log)"; failures=$((failures + 1)); }
done
# Where the file cannot be written, nothing is lost.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; else echo "[vm:1] Read -1, expected 2, errno = 3" >&2; fi
FAKE
expect "noise without a file" 0 "[vm:1] Read -1, expected 2, errno = 3" \
  env PATH="$PWD/bin:$PATH" MUMOE_CACHE=/dev/null/none "$mpirun" -n 2 true

# When the kernel has killed something for lack of memory meanwhile, the line says so.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; else touch killed; exit 137; fi
FAKE
cat >bin/sed <<'FAKE'
#!/usr/bin/env bash
if [[ ${*: -1} == /proc/vmstat ]]; then if [[ -e killed ]]; then echo 8; else echo 7; fi; else exec /bin/sed "$@"; fi
FAKE
chmod +x bin/sed
expect "out of memory" 137 "launch/mpirun: a rank was killed by signal 9 (SIGKILL); the kernel has killed a process of this machine for lack of memory" \
  env PATH="$PWD/bin:$PATH" "$mpirun" -n 2 true
rm bin/sed

# SIGTSTP stops the ranks of an MPI that does not forward it, then the script; SIGCONT lets all go on.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "HYDRA build details:"; exit; fi
shift 2
trap '' TSTP
setsid "$@" 0 & setsid "$@" 1 & wait
FAKE
cat >ticker <<'RANK'
#!/usr/bin/env bash
echo $$ >"pid.$1"
for ((i = 0; i < 300; i++)); do sleep 0.1; [[ ! -e enough ]] || exit 0; done
exit 1
RANK
chmod +x ticker
PATH=$PWD/bin:$PATH "$mpirun" -n 2 ./ticker >out 2>err </dev/null &
job=$!
for ((i = 0; i < 300; i++)); do [[ -s pid.0 && -s pid.1 ]] && break; sleep 0.1; done
all_are() {  # all_are STATE: waits until the script and both ranks are in one of these states
  local i pid state
  for ((i = 0; i < 100; i++)); do
    for pid in "$job" "$(<pid.0)" "$(<pid.1)"; do
      state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status")
      [[ $state == [$1] ]] || { sleep 0.1; continue 2; }
    done
    return 0
  done
  echo "SIGTSTP: process $pid is in state $state, expected $1"
  failures=$((failures + 1))
}
all_are SR
kill -TSTP "$job"
all_are T
kill -CONT "$job"
all_are SR
touch enough
wait "$job" || { echo "SIGTSTP: code $?: $(<err)"; failures=$((failures + 1)); }

if ((failures)); then echo "$failures failed"; exit 1; fi
echo "all passed"
