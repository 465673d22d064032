#!/usr/bin/env bash
# slurm_test.sh MUMOE DPxTP...
# launch/slurm.sbatch on a Slurm of two nodes (tests/launch/hosts/two_hosts.sh): the default recipe takes the same steps as
# on one host, in every layout, to the last bit of loss and gradient norm; warned of its time limit it saves, is queued
# anew and goes on, to the same end; bad input ends with its code. Needs root, and Debian's packages slurmctld, slurmd,
# slurm-client and munge. All daemons are this script's own.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../../..")
mumoe=$(realpath "$1") layouts=("${@:2}")  # of an even number of ranks
# shellcheck source=tests/launch/hosts/two_hosts.sh
. "$here/../hosts/two_hosts.sh"
for program in munged slurmctld slurmd sbatch; do
  PATH=$PATH:/usr/sbin command -v $program >/dev/null ||
    { echo "no $program: apt-get install slurmctld slurmd slurm-client munge"; exit 1; }
done
folder=$(mktemp -d)
munged='' failures=0
# shellcheck disable=SC2317  # called by the trap
end() {
  remove_hosts
  if [[ $munged ]]; then kill "$munged" 2>/dev/null || true; wait "$munged" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap end EXIT
cd "$folder"
chmod 755 .  # munged looks
export SLURM_CONF=$folder/slurm.conf OMP_NUM_THREADS=1 PATH=$PATH:/usr/sbin
export OMPI_MCA_btl_tcp_if_include=$two_hosts_subnet
wrong() { echo "$*"; failures=$((failures + 1)); }

start_slurm() {
  local host
  head -c 1024 /dev/urandom >munge.key
  chmod 600 munge.key
  setpriv --pdeathsig TERM munged --foreground --force --key-file="$PWD/munge.key" --socket="$PWD/munge.socket" \
    --pid-file="$PWD/munged.pid" --log-file="$PWD/munged.log" --seed-file="$PWD/munged.seed" >munged.out 2>&1 &
  munged=$!
  # Both nodes share /tmp: %h keeps them apart there. cred_expire: for how long a requeued job waits. config_overrides: a
  # node takes four ranks, whatever cores there are.
  cat >slurm.conf <<CONF
ClusterName=two
SlurmctldHost=host-a
SlurmUser=root
AuthInfo=socket=$PWD/munge.socket,cred_expire=12
StateSaveLocation=$PWD/state
SlurmdSpoolDir=$PWD/spool.%h
TmpFS=$PWD/tmp.%h
SlurmctldPidFile=$PWD/slurmctld.pid
SlurmdPidFile=$PWD/slurmd.%h.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
NodeName=host-a,host-b CPUs=4
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
  mkdir state {spool,tmp}.host-{a,b}
  for ((i = 0; i < 100; i++)); do if [[ -S munge.socket ]]; then break; fi; sleep 0.1; done
  [[ -S munge.socket ]] || { wrong "munged did not start: $(<munged.out)"; return 1; }
  on host-a slurmctld -D -i >slurmctld.log 2>&1 &
  for host in host-a host-b; do on $host slurmd -D >slurmd.$host.log 2>&1 & done
  for ((i = 0; i < 300; i++)); do
    if [[ $(on host-a sinfo -h -o '%D %T' 2>/dev/null) == "2 idle" ]]; then return 0; fi
    sleep 0.1
  done
  wrong "the nodes are not up: $(on host-a sinfo 2>&1): $(tail -n 5 slurmctld.log slurmd.*.log)"
  return 1
}
submit() {  # submit RANKS OPTIONS...: half of them on each node; prints the number of the job
  on host-a sbatch --parsable --nodes=2 --ntasks-per-node=$(($1 / 2)) --output=%j.log launch/slurm.sbatch "${@:2}"
}
state_of() { on host-a scontrol show job "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
exit_code_of() { on host-a scontrol show job "$1" | sed -n 's/.* ExitCode=\([0-9]*\):.*/\1/p'; }
ended() {  # ended JOB: waits until it is over
  for ((i = 0; i < 1200; i++)); do
    case $(state_of "$1") in
      PENDING | RUNNING | CONFIGURING | COMPLETING | REQUEUED) sleep 0.1 ;;
      *) return 0 ;;
    esac
  done
  wrong "job $1 does not end: $(cat "$1.log"): $(on host-a scontrol show job "$1")"
}
expect() {  # expect NAME JOB CODE
  ended "$2"
  [[ $(exit_code_of "$2") == "$3" ]] || { wrong "$1: code $(exit_code_of "$2"), expected $3: $(cat "$2.log")"; return 1; }
}
numbers() { grep -oE '"(step|tokens|loss|grad_norm|val_loss)":[^,}]*' "$1/metrics.jsonl"; }
same_numbers() {  # same_numbers NAME FOLDER FOLDER
  local difference
  difference=$(diff <(numbers "$2") <(numbers "$3")) || wrong "$1: the numbers differ: $difference"
}

# What the script expects where it is submitted: the root of a clone.
mkdir -p build/release
ln -s "$mumoe" build/release/mumoe
ln -s "$root/launch" "$root/configs" .
steps=8
# The library of products is named: each run would choose the faster one anew.
options=(--train.precision fp32 --train.gemm mkl --train.eval_windows 2 --train.batch 4 --train.steps "$steps" --schedule.warmup 2)
make_hosts "$folder"
start_slurm || exit 1

equal() {  # equal DPxTP
  local dp=${1%x*} tp=${1#*x} host job ranks
  ranks=$((dp * tp))
  local layout=("${options[@]}" --parallel.dp "$dp" --parallel.tp "$tp" --parallel.plan sequence --parallel.tp_across_hosts yes)
  timeout -k 5 150 launch/mpirun -n $ranks build/release/mumoe train --config configs/gpt2_cp_small.cfg "${layout[@]}" \
    --train.out "one$1" >stdout 2>stderr </dev/null || { wrong "$1 on one host: code $?: $(cat stdout stderr)"; return 0; }
  job=$(submit $ranks "${layout[@]}")
  expect "$1 on two nodes" "$job" 0 || return 0
  grep -q "srun --mpi=pmix" "$job.log" || wrong "srun with PMIx was not used: $(cat "$job.log")"
  for host in host-a host-b; do
    grep -q "$host" "runs/slurm-$job/provenance.json" || wrong "$1: no rank on $host: $(cat "$job.log")"
  done
  same_numbers "$1" "one$1" "runs/slurm-$job"
}
for layout in "${layouts[@]}"; do equal "$layout"; done

# The warning comes after a few steps: what Slurm sends by itself --signal=B:USR1@300 before the limit.
warned=$(submit 2 "${options[@]}" --train.out warned)
for ((i = 0; i < 600; i++)); do if [[ -s warned/metrics.jsonl ]]; then break; fi; sleep 0.1; done
on host-a scancel --batch --signal=USR1 "$warned" || wrong "no job to warn"
if expect "warned of its time limit" "$warned" 0; then
  grep -q "queued anew" "$warned.log" || wrong "the warned job was not queued anew: $(cat "$warned.log")"
  grep -q "resumed after step" "$warned.log" || wrong "the requeued job did not go on: $(cat "$warned.log")"
  same_numbers "warned of its time limit" one2x1 warned
fi

# A rank that is killed is another's affair, scancel is not.
said() {  # said TEXT JOB: waits until it is
  for ((i = 0; i < 600; i++)); do if grep -q "$1" "$2.log" 2>/dev/null; then return 0; fi; sleep 0.1; done
  wrong "no '$1' in $(cat "$2.log")"
}
rank_of() {  # rank_of FOLDER: the process of a rank that writes there
  local process
  for process in /proc/[0-9]*; do
    if [[ $(readlink "$process/exe") == "$mumoe" ]] && tr '\0' ' ' <"$process/cmdline" | grep -q -- "--train.out $1 "; then
      echo "${process#/proc/}"
      return
    fi
  done 2>/dev/null
}
killed=$(submit 2 "${options[@]::8}" --schedule.warmup 2 --train.steps 1000000 --train.out killed --checkpoint.every 2)
for ((i = 0; i < 600; i++)); do if [[ -e killed/checkpoints/step_00000002 ]]; then break; fi; sleep 0.1; done
kill -KILL "$(rank_of killed)" || wrong "no rank to kill"
said "communication failure, with what was saved in killed; queued anew" "$killed"
said "resumed after step" "$killed"
on host-a scancel "$killed"
ended "$killed"
sleep 2
[[ $(state_of "$killed") == CANCELLED ]] || wrong "scancel: the job is $(state_of "$killed"): $(cat "$killed.log")"
tail -n 1 "$killed.log" | grep -q "^launch/slurm.sbatch: preempted, with what was saved in killed" || wrong "scancel: $(cat "$killed.log")"

by_mpirun=$(MUMOE_SRUN_MPI=mpirun submit 2 "${options[@]}" --train.out by_mpirun)
if expect "mpirun in the allocation" "$by_mpirun" 0; then
  same_numbers "mpirun in the allocation" one2x1 by_mpirun
fi

bad=$(submit 2 --model.depth many)
if expect "bad input" "$bad" 2; then
  grep -q "model.depth = many" "$bad.log" || wrong "bad input: no such line in $(cat "$bad.log")"
fi
lone=$(MUMOE_SRUN_MPI=none submit 2 --train.steps 1 --train.out lone)
if expect "srun without MPI" "$lone" 2; then
  grep -q "srun started 2 processes, but MPI knows of one" "$lone.log" || wrong "$(cat "$lone.log")"
  [[ ! -e lone ]] || wrong "ranks that see none of the others wrote a run directory"
fi

# mumoe scale submits each of its runs; stopped, it cancels the job that it waits for, and goes on with that one.
cat >study.json <<'JSON'
{"settings": {"train.precision": "fp32", "train.gemm": "mkl", "train.batch": 4}, "steps": 3, "skip": 1, "repeats": 1,
 "models": {"cp": {}, "lost": {"data.source": "nowhere"}},
 "layouts": [{"dp": [1, 2], "models": "cp"}, {"models": "lost"}], "scaling": "strong", "minutes": 2}
JSON
scale=(build/release/mumoe scale study.json --out scaled --runner slurm --ranks-per-node 1 --launch launch)
on host-a "${scale[@]}" >scale.log 2>&1 &
scaling=$!
for ((i = 0; i < 600; i++)); do if [[ -s scaled/cells/cp/2x1/strong/0.sbatch ]]; then break; fi; sleep 0.1; done
pkill -TERM -P "$scaling" || wrong "no mumoe scale to stop: $(<scale.log)"
code=0
wait "$scaling" || code=$?
[[ $code == 3 ]] || wrong "mumoe scale stopped: code $code, expected 3: $(<scale.log)"
[[ $(wc -l <scaled/results.jsonl) == 1 ]] || wrong "mumoe scale stopped: $(<scale.log) $(<scaled/results.jsonl)"
job=$(<scaled/cells/cp/2x1/strong/0.sbatch)
ended "$job"
[[ $(state_of "$job") == CANCELLED ]] || wrong "the job of mumoe scale is $(state_of "$job"): $(cat scaled/cells/cp/2x1/strong/0.*)"
code=0
on host-a "${scale[@]}" >scale.log 2>&1 || code=$?
[[ $code == 2 ]] || wrong "mumoe scale with a cell that fails: code $code, expected 2: $(<scale.log)"
grep -q "lost/1x1/strong, repeat 0: FAILED with code 2: data source nowhere: expected" scale.log || wrong "$(<scale.log)"
python3 - <<'PYTHON' || wrong "mumoe scale: $(<scaled/results.jsonl)"
import json
runs = {r["cell"]: r for r in map(json.loads, open("scaled/results.jsonl"))}
one, two = runs["cp/1x1/strong"], runs["cp/2x1/strong"]
assert len(runs) == 3 and one["nodes"] == 1 and two["nodes"] == 2 and one["steps"] == two["steps"] == 3
assert abs(one["loss"] - two["loss"]) < 1e-5 and two["dp_bytes"] > 0 and two["exposed_ms"] > 0
PYTHON

# A loss study is a job for each of its runs, which branch from each other; stopped, it goes on where the job was, and its
# losses are those of one host.
cat >losses.json <<'JSON'
{"settings": {"train.precision": "fp32", "train.gemm": "mkl", "train.batch": 4, "train.eval_windows": 4, "model.depth": 1,
              "model.heads": 2, "model.context": 16, "model.experts": 4},
 "models": {"narrow": {"model.width": 16}, "wide": {"model.width": 32}},
 "layout": {"dp": 2}, "budgets": [64000, 128000], "minutes": 2}
JSON
losses=(build/release/mumoe scale losses.json --launch launch)
timeout -k 5 100 "${losses[@]}" --out one_host >one_host.log 2>&1 </dev/null || wrong "a loss study on one host: $(<one_host.log)"
losses+=(--out losses --runner slurm --ranks-per-node 1)
on host-a "${losses[@]}" >losses.log 2>&1 &
scaling=$!
first=losses/runs/narrow/seed-1/stable-800
for ((i = 0; i < 1200; i++)); do if [[ -s $first/metrics.jsonl ]]; then break; fi; sleep 0.05; done
pkill -TERM -P "$scaling" || wrong "no mumoe scale to stop: $(<losses.log)"
code=0
wait "$scaling" || code=$?
[[ $code == 3 ]] || wrong "a loss study stopped: code $code, expected 3: $(<losses.log)"
code=0
on host-a "${losses[@]}" >losses.log 2>&1 || code=$?
[[ $code == 0 ]] || wrong "a loss study that goes on: code $code: $(<losses.log)"
grep -q "resumed after step" $first/log.txt || wrong "a loss study does not go on: $(<losses.log)"
for host in host-a host-b; do
  grep -q "$host" losses/runs/wide/seed-1/budget-1000/provenance.json || wrong "a loss study: no rank on $host"
done
python3 - <<'PYTHON' || wrong "a loss study: $(<losses/results.jsonl) $(<losses.log)"
import json
slurm, here = ({r["run"]: r for r in map(json.loads, open(f"{out}/results.jsonl"))} for out in ("losses", "one_host"))
assert set(slurm) == set(here) and len(slurm) == 6 and not any(r["failed"] for r in slurm.values())
for run, result in slurm.items():
    assert result["loss"] == here[run]["loss"], (result["loss"], here[run]["loss"])
assert slurm["wide/seed-1/budget-1000"]["first_step"] == slurm["wide/seed-1/stable-800"]["last_step"] == 800
PYTHON
[[ ! $(find losses/runs -name 'step_*') ]] || wrong "a loss study leaves checkpoints: $(find losses/runs -name 'step_*')"

((failures == 0)) || { echo "$failures failed"; exit 1; }
