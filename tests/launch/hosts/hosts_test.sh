#!/usr/bin/env bash
# hosts_test.sh MUMOE equal DPxTP... | cut | stopped | refused
# The default recipe on two hosts (two_hosts.sh) over TCP, half of the ranks on each:
#   equal    every layout takes the steps of the same layout on one host, to the last bit of loss and gradient norm
#   cut      the link between the hosts is cut: the job ends with a line and code 5, and nothing is left on either host
#   stopped  a rank is stopped: the same
#   refused  a tp group that would span the hosts is one line and code 2, unless it is asked for
set -euo pipefail

here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../../..")
mumoe=$(realpath "$1")
mode=$2 layouts=("${@:3}")  # layouts of an even number of ranks
# shellcheck source=tests/launch/hosts/two_hosts.sh
. "$here/two_hosts.sh"
folder=$(mktemp -d)
trap 'remove_hosts; rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
# Bits are compared: every choice is named.
train=("$mumoe" train --config "$root/configs/gpt2_cp_small.cfg" --train.precision fp32 --train.gemm mkl
  --train.eval_windows 2)
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

on_one_host() {  # on_one_host RANKS OPTIONS...: leaves stdout, stderr and code
  local code=0
  timeout -k 5 150 "$root/launch/mpirun" -n "$1" "${train[@]}" "${@:2}" >stdout 2>stderr </dev/null || code=$?
  echo $code >code
}
on_two_hosts() {  # on_two_hosts RANKS OPTIONS...: the same, half of the ranks on each
  local code=0
  printf '%s slots=%d\n' host-a $(($1 / 2)) host-b $(($1 / 2)) >hostfile
  MUMOE_TEST_HOSTS=$folder OMPI_MCA_plm_rsh_agent=$here/rsh_agent \
    OMPI_MCA_oob_tcp_if_include=$two_hosts_subnet OMPI_MCA_btl_tcp_if_include=$two_hosts_subnet \
    on host-a timeout -k 5 150 "$root/launch/mpirun" -n "$1" --hostfile hostfile "${train[@]}" "${@:2}" \
    >stdout 2>stderr </dev/null || code=$?
  echo $code >code
}
expect() {  # expect NAME CODE
  [[ $(<code) == "$2" ]] || { wrong "$1: code $(<code), expected $2: $(cat stdout stderr)"; return 1; }
}
numbers() { grep -oE '"(step|tokens|loss|grad_norm|val_loss)":[^,}]*' "$1/metrics.jsonl"; }

equal() {  # equal DPxTP
  local dp=${1%x*} tp=${1#*x} steps=5 difference host
  local options=(--train.steps "$steps" --train.batch 8 --parallel.dp "$dp" --parallel.tp "$tp"
    --parallel.plan sequence --parallel.tp_across_hosts yes)
  on_one_host $((dp * tp)) "${options[@]}" --train.out "one$1"
  expect "$1 on one host" 0 || return 0
  on_two_hosts $((dp * tp)) "${options[@]}" --train.out "two$1"
  expect "$1 on two hosts" 0 || return 0
  for host in host-a host-b; do
    grep -q "$host" "two$1/provenance.json" || wrong "$1: no rank on $host: $(<"two$1/provenance.json")"
  done
  [[ $(numbers "one$1" | grep -c '"loss"') == "$steps" ]] || wrong "$1: expected $steps steps: $(<"one$1/metrics.jsonl")"
  difference=$(diff <(numbers "one$1") <(numbers "two$1")) || wrong "$1: one host and two differ: $difference"
}

refused() {
  on_two_hosts 2 --parallel.tp 2 --train.out out
  expect "tp across hosts" 2 || return 0
  grep -q "the tp group of ranks 0, 1 (dp 0) spans the hosts host-a, host-b" stderr || wrong "expected the hosts: $(<stderr)"
  grep -q -- "or give --parallel.tp_across_hosts yes" stderr || wrong "expected the way out: $(<stderr)"
  [[ ! -e out ]] || wrong "a refused run wrote its folder"
}

left_on() { processes_on "$1" | xargs -r ps -o pid,args -p; }
# fails NAME ACTION: ACTION happens to a run that takes steps; the ranks that can say where they are, at their deadline, and
# the job ends with code 5 and leaves nothing on either host.
fails() {
  local ended=no i begin
  on_two_hosts 2 --train.steps 1000000 --parallel.deadline 5 --train.out out &
  local job=$!
  for ((i = 0; i < 600; i++)); do
    if [[ -s out/metrics.jsonl ]] || ! kill -0 $job 2>/dev/null; then break; fi
    sleep 0.1
  done
  [[ -s out/metrics.jsonl ]] || wrong "$1: no step before it: $(cat stdout stderr)"
  [[ $(processes_on host-a) && $(processes_on host-b) ]] || wrong "$1: expected ranks on both hosts"
  "$2"
  begin=$SECONDS
  while ((SECONDS - begin < 90)); do
    if [[ -z $(processes_on host-a)$(processes_on host-b) ]]; then ended=yes; break; fi
    sleep 0.5
  done
  echo "$1: both hosts empty: $ended, after $((SECONDS - begin)) s"
  [[ $ended == yes ]] || wrong "$1: left behind on host-a: $(left_on host-a), on host-b: $(left_on host-b)"
  end_processes
  wait $job || true
  expect "$1" 5 || return 0
  # What rank 1 prints does not get through a link that is cut.
  grep -Eq '^mumoe: rank 0 of 2 \(dp 0/2 tp 0/1\): phase [a-z]+ for .*, deadline 5 s; last collective [a-z_]+ #[0-9]+ of .* on axis ' stderr ||
    wrong "$1: no line of rank 0: $(<stderr)"
}
cut() {
  fails cut cut_link
  # The connection between mpirun's daemons ends the ranks.
  grep -qx "launch/mpirun: the connection to a host was lost; all ranks were ended" stderr || wrong "no such line: $(<stderr)"
}
stop_rank_1() {
  local pid stopped=0
  for pid in $(processes_on host-b); do
    if [[ $(<"/proc/$pid/comm") == mumoe ]]; then kill -STOP "$pid"; stopped=$((stopped + 1)); fi
  done
  ((stopped == 1)) || wrong "stopped: expected one rank on host-b, found $stopped"
}
stopped() { fails stopped stop_rank_1; }

make_hosts "$folder"
case $mode in
  equal) for layout in "${layouts[@]}"; do equal "$layout"; done ;;
  cut) cut ;;
  stopped) stopped ;;
  refused) refused ;;
  *) wrong "$mode: expected equal, cut, stopped or refused" ;;
esac
((failures == 0)) || { echo "$failures failed"; exit 1; }
