#!/usr/bin/env bash
# hosts_test.sh MUMOE equal DPxTP... | cut | refused
# The default recipe on two hosts (two_hosts.sh) over TCP, half of the ranks on each:
#   equal    every layout takes the steps of the same layout on one host, to the last bit of loss and gradient norm
#   cut      the link between the hosts is cut: the job ends with a line and code 5, and nothing is left on either host
#   refused  a tp group that would span the hosts is one line and code 2, unless it is asked for
set -euo pipefail

here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../../..")
mumoe=$(realpath "$1")
mode=$2 layouts=("${@:3}")
# shellcheck source=tests/launch/hosts/two_hosts.sh
. "$here/two_hosts.sh"
folder=$(mktemp -d)
trap 'remove_hosts; rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
# The library of products is named: each run would choose the faster one anew.
train=("$mumoe" train --config "$root/configs/gpt2_cp_small.cfg" --train.gemm mkl --train.eval_windows 2)
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

two_host_run() {  # two_host_run RANKS OPTIONS...: half of them on each; leaves stdout and stderr, sets $code
  code=0
  printf '%s slots=%d\n' host-a $(($1 / 2)) host-b $(($1 / 2)) >hostfile
  MUMOE_TEST_HOSTS=$folder OMPI_MCA_plm_rsh_agent=$here/rsh_agent \
    OMPI_MCA_oob_tcp_if_include=$two_hosts_subnet OMPI_MCA_btl_tcp_if_include=$two_hosts_subnet \
    on host-a timeout -k 5 150 "$root/launch/mpirun" -n "$1" --hostfile hostfile "${train[@]}" "${@:2}" \
    >stdout 2>stderr </dev/null || code=$?
}
said() { cat stdout stderr; }
numbers() { grep -oE '"(step|tokens|loss|grad_norm|val_loss)":[^,}]*' "$1/metrics.jsonl"; }

equal() {  # equal DPxTP
  local dp=${1%x*} tp=${1#*x} ranks steps=5
  ranks=$((dp * tp))
  local options=(--train.steps $steps --train.batch 8 --parallel.dp "$dp" --parallel.tp "$tp" --parallel.tp_across_hosts yes)
  timeout -k 5 150 "$root/launch/mpirun" -n $ranks "${train[@]}" "${options[@]}" --train.out "one$1" >stdout 2>stderr \
    </dev/null || { wrong "$1 on one host: code $?: $(said)"; return; }
  two_host_run $ranks "${options[@]}" --train.out "two$1"
  ((code == 0)) || { wrong "$1 on two hosts: code $code: $(said)"; return; }
  [[ $(numbers "one$1" | grep -c '"loss"') == "$steps" ]] || wrong "$1: expected $steps steps: $(<"one$1/metrics.jsonl")"
  diff <(numbers "one$1") <(numbers "two$1") >difference || wrong "$1: one host and two differ: $(<difference)"
  [[ $(sort -u "two$1.hosts" 2>/dev/null | wc -l) != 1 ]] || wrong "$1: all ranks were on one host"
}

cut() {
  local ended=no i
  two_host_run 2 --train.steps 1000000 --parallel.deadline 60 --train.out out &
  local job=$!
  for ((i = 0; i < 600; i++)); do
    if [[ -s out/metrics.jsonl ]] || ! kill -0 $job 2>/dev/null; then break; fi
    sleep 0.1
  done
  [[ -s out/metrics.jsonl ]] || { wrong "no step before the cut: $(said)"; return; }
  [[ $(processes_on host-a) && $(processes_on host-b) ]] || wrong "expected ranks on both hosts"
  cut_link
  local begin=$SECONDS
  for ((i = 0; i < 180; i++)); do
    if [[ -z $(processes_on host-a)$(processes_on host-b) ]]; then ended=yes; break; fi
    sleep 0.5
  done
  echo "cut: ended=$ended after $((SECONDS - begin)) s"
  [[ $ended == yes ]] || wrong "left on host-a: $(processes_on host-a | xargs -r ps -o pid,args -p), on host-b: $(processes_on host-b | xargs -r ps -o pid,args -p)"
  end_processes
  wait $job || true
}
