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
expect "no count" 2 "launch/mpirun: -n x: expected a number of ranks, 1 or more" "$mpirun" -n x true
expect "threads are left to the ranks" 0 "" "$mpirun" -n 2 bash -c 'echo "${OMP_NUM_THREADS:-none}"'
says "threads are left to the ranks" "none none"
expect "threads are kept" 0 "" env OMP_NUM_THREADS=3 "$mpirun" -n 1 bash -c 'echo "$OMP_NUM_THREADS ${MUMOE_TTY:-pipe}"'
says "threads are kept" "3 pipe"

# What keeps ranks from starting is one line that says what, where and what was expected, and code 2; of Open MPI's own
# words none.
mkdir a_folder
echo "not executable" >a_text
printf 'no program' >no_format
chmod +x no_format
none() { local name=$1 line=$2; shift 2; expect "$name" 2 "launch/mpirun: $line" env MUMOE_CACHE="$PWD/cache" "$mpirun" "$@"; }
usage="expected -n RANKS [options of mpirun] PROGRAM [ARGUMENTS]"
none "no program behind options" "./none: no such program" -n 2 -x FOO=1 --mca btl self,vader ./none
none "no program of that name" "no-such-program: no such program" --oversubscribe -np 2 no-such-program
none "a folder" "$PWD/a_folder: is a folder; expected a program" -n 2 "$PWD/a_folder"
none "not executable" "./a_text: may not be executed; expected a program" -n 2 -x FOO=1 ./a_text
none "no format" "./no_format on host $(hostname): Exec format error; expected a program" -n 2 ./no_format
none "nothing to start" "no program is named; $usage" -n 2
none "no value" "-n: nothing follows it; $usage" -n
none "no value of -x" "-x: nothing follows it; $usage" -n 2 -x
none "no ranks" "-np 0: expected a number of ranks, 1 or more" -np 0 true
none "no -n" "-n (nothing): $usage" true
none "unknown option" 'unknown option "--frobnicate"' -n 2 --frobnicate true
none "unknown policy" "nonsense: The specified mapping policy is not recognized" -n 2 --map-by nonsense true
none "no folder to work in" "nowhere: expected a folder to work in" -n 2 -wdir nowhere true
slots="expected HOST:SLOTS of -H or slots=N in the host file to add up to"
lines="expected lines HOST slots=N"
host_file() { printf '%s\n' "${@:4}" >"$1"; none "$2" "$3" -n 2 --hostfile "$1" true; }
none "no host file" "--hostfile nowhere: no such file; $lines" -n 2 --hostfile nowhere true
none "a folder as host file" "--hostfile a_folder: is no file; $lines" -n 2 -machinefile a_folder true
host_file empty "an empty host file" "--hostfile empty: names no host; $lines" "# nobody" ""
host_file odd "no slots" "odd:2: slots=x: expected a number, 1 or more" "localhost slots=1" "node slots=x"
host_file odd "words" "odd:1: a b c: expected HOST slots=N" "a b c"
host_file odd "too few slots" "-n 2: the hosts have 1 slots; $slots 2" "localhost slots=1 max_slots=2  # mine"
none "too few slots" "-n 3: the hosts have 2 slots; $slots 3" -n 3 -H localhost,localhost:1 true
none "no hosts" "-H localhost:x: 'localhost:x': expected HOST:RANKS,..." -n 2 -H localhost:x true
none "a program as host" "-H ./none: './none': expected HOST:RANKS,..." -n 2 -H ./none
none "no ssh" "nowhere: not found; expected ssh, or what OMPI_MCA_plm_rsh_agent names" \
  -n 2 --mca plm_rsh_agent nowhere -H elsewhere:2 true
# What belongs to the program is its own.
expect "the program's options" 0 "" "$mpirun" -n 2 -x FOO=1 bash -c 'echo "$FOO $*"' bash -n 7 -H x:y --hostfile nowhere
says "the program's options" "1 -n 7 -H x:y --hostfile nowhere 1 -n 7 -H x:y --hostfile nowhere"
expect "hosts that do" 0 "" "$mpirun" -n 2 -H localhost:1,localhost:1 true
# What another host's ssh says is told; that it cannot be reached is a communication failure, an unknown name is not.
reach() {  # reach NAME CODE WORDS
  printf '#!/bin/sh\necho "%s" >&2\nexit 255\n' "$3" >ssh_says
  chmod +x ssh_says
  expect "$1" "$2" "launch/mpirun: no ranks could be started on another host: $3" \
    env MUMOE_CACHE="$PWD/cache" OMPI_MCA_plm_rsh_agent="$PWD/ssh_says" "$mpirun" -n 2 -H elsewhere:2 true
}
reach "an unknown host" 2 "ssh: Could not resolve hostname elsewhere: Name or service not known"
reach "a host that refuses" 5 "ssh: connect to host elsewhere port 22: Connection refused"
reach "a host without our key" 5 "root@elsewhere: Permission denied (publickey,password)."

# Whoever reads stdout may go away.
"$mpirun" -n 2 bash -c 'for ((i = 0; i < 2000; i++)); do echo "line $i"; done; echo "all said" >&2' 2>err | head -n 1 >out ||
  { echo "unread: code ${PIPESTATUS[0]}"; failures=$((failures + 1)); }
[[ $(<err) == "all said"$'\n'"all said" && $(wc -l <out) == 1 ]] || { echo "unread: '$(<err)'"; failures=$((failures + 1)); }
[[ $("$mpirun" -n 2 echo said | cat) == said$'\n'said ]] || { echo "read: not all came"; failures=$((failures + 1)); }

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
# shellcheck source=launch/mpirun_says.sh
source "$(dirname "$mpirun")/mpirun_says.sh"
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
echo "node slots=2" >hosts
expect "lost host" 5 "launch/mpirun: the connection to a host was lost; all ranks were ended" \
  env PATH="$PWD/bin:$PATH" MUMOE_PIN=no "$mpirun" -n 2 --hostfile hosts true
says "lost host" "10 --bind-to none -x MUMOE_PIN -n 2 --hostfile hosts true"
expect "code of one host" 205 "" env PATH="$PWD/bin:$PATH" OMPI_MCA_oob_tcp_keepalive_time=7 "$mpirun" -n 2 true
says "code of one host" "7 --bind-to none --oversubscribe -n 2 true"

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
echo "[warn] Epoll MOD(1) on fd 24 failed. Old events were 6; read change was 0 (none); write change was 2 (del); close change was 0 (none): Bad file descriptor"
echo "[warn] event_active: event has no event_base set."
echo "[warn] Epoll ADD(4) on fd 1 failed. Old events were 0; read change was 0 (none); write change was 1 (add): Operation not permitted"
echo "[vm:4711] PMIX ERROR: UNREACHABLE in file ../../../src/server/pmix_server.c at line 2198"
box "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD" "with errorcode 5." "" "mumoe: inside" "You may or may not see"
box "Primary job  terminated normally, but 1 process returned" "a non-zero exit code."
box "A box of something else." "It has two lines."
echo "[vm:4711] a warning of something else"
box $(seq 50)
sleep 60 &
printf "no end"
exit 5
FAKE
begin=$SECONDS
rule=$(printf '%074d' 0 | tr 0 -)
expect "noise" 5 "mumoe: first
[warn] Epoll ADD(4) on fd 1 failed. Old events were 0; read change was 0 (none); write change was 1 (add): Operation not permitted
mumoe: inside
$rule
A box of something else.
It has two lines.
$rule
[vm:4711] a warning of something else
$rule
$(seq 50)
$rule
no end" env PATH="$PWD/bin:$PATH" MUMOE_CACHE="$PWD/cache" "$mpirun" -n 2 true
((SECONDS - begin < 30)) || { echo "noise: waited $((SECONDS - begin)) s for a process that was left behind"; failures=$((failures + 1)); }
for text in "Read -1, expected" "readv failed" "PMIX ERROR" "MPI_ABORT was invoked" "with errorcode 5" "Primary job"; do
  grep -q "$text" cache/mpirun.log || { echo "noise: no '$text' in mpirun.log: $(<cache/mpirun.log)"; failures=$((failures + 1)); }
done
# One line says why, and a number how many ended with it.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; exit; fi
exec >&2
gone() { echo "mumoe: rank $1 of 5 (dp $1/5 tp 0/1): rank 0 is gone: its process 7 on this host has ended; phase load for 0.2 s"; }
[[ $CAUSE != yes ]] || echo "mumoe: the cause"
gone 1; gone 3
[[ $CAUSE != yes ]] || gone 4
exit 5
FAKE
expect "a cause and others" 5 "mumoe: the cause
launch/mpirun: 3 other ranks ended with it" env CAUSE=yes PATH="$PWD/bin:$PATH" MUMOE_CACHE="$PWD/cache" "$mpirun" -n 5 true
expect "the first that misses one" 5 "mumoe: rank 1 of 5 (dp 1/5 tp 0/1): rank 0 is gone: its process 7 on this host has ended; phase load for 0.2 s
launch/mpirun: 1 other rank ended with it" env CAUSE=no PATH="$PWD/bin:$PATH" MUMOE_CACHE="$PWD/cache" "$mpirun" -n 5 true
# The end of what started the ranks ends the script, whoever it was.
cat >bin/mpirun <<'FAKE'
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.4"; else kill -SEGV $$; fi
FAKE
expect "mpirun itself dies" 139 "launch/mpirun: a rank was killed by signal 11 (SIGSEGV)" env PATH="$PWD/bin:$PATH" "$mpirun" -n 2 true
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
