# shellcheck shell=bash
# To be sourced by launch/mpirun: what its words ask of mpirun, and what is wrong with them, found before anything starts.
# shellcheck disable=SC2034  # variables are for who sources this

refuse() { echo "launch/mpirun: $*" >&2; exit 2; }
expected="expected -n RANKS [options of mpirun] PROGRAM [ARGUMENTS]"

# How many words follow an option of Open MPI's mpirun; of none that is unknown.
words_after() {
  case ${1#-} in
    gmca | -gmca | mca | -mca) echo 2 ;;
    n | -n | np | -np | c | -c | H | host | -host | hostfile | -hostfile | machinefile | -machinefile | f | \
      default-hostfile | -default-hostfile | x | wd | -wd | wdir | -wdir | am | -app | app | -bind-to | bind-to | -map-by | \
      map-by | -rank-by | rank-by | -ppr | -prefix | prefix | path | -path | N | npernode | -npernode | npersocket | -npersocket | \
      cpu-list | -cpu-list | cpu-set | -cpu-set | cpus-per-proc | -cpus-per-proc | cpus-per-rank | -cpus-per-rank | \
      output-filename | -output-filename | preload-files | -preload-files | report-events | -report-events | report-pid | \
      -report-pid | report-uri | -report-uri | rf | -rankfile | rankfile | stdin | -stdin | timeout | -timeout | tune | -tune | \
      xml-file | -xml-file | xterm | -xterm | launch-agent | -launch-agent | max-restarts | -max-restarts | max-vm-size | \
      -max-vm-size | personality | -personality | ompi-server | -ompi-server | hnp | -hnp | cf | -cartofile | debugger | -debugger)
      echo 1 ;;
    q | -quiet | v | -verbose | -oversubscribe | oversubscribe | -nooversubscribe | nooversubscribe | -allow-run-as-root | \
      allow-run-as-root | -use-hwthread-cpus | use-hwthread-cpus | -report-bindings | report-bindings | -tag-output | tag-output | \
      -timestamp-output | timestamp-output | s | -preload-binary | -display-map | display-map | -display-allocation | \
      display-allocation | -nolocal | nolocal | -bynode | bynode | -byslot | byslot | -bycore | bycore | -mca-base-env-list | \
      -merge-stderr-to-stdout | -get-stack-traces | -report-state-on-timeout | -enable-recovery | -disable-recovery | -continuous | \
      d | -debug-devel | -debug-daemons | -do-not-launch | -xml | -pernode | pernode) echo 0 ;;
    *) echo unknown ;;
  esac
}

# read_words WORD...: sets $ranks, $program, $hosts (what names hosts), $host_list, $host_file, $work (the folder to work
# in), $free (something lets hosts have more ranks than slots) and $unsure (the program cannot be told from options).
ranks='' program='' hosts='' host_list='' host_file='' work='' free='' unsure=''
read_words() {
  local option value count
  case ${1:-} in
    -h | -help | --help) sed -n '2,/^# shellcheck/{/^# shellcheck/!s/^# //p}' "$0"; exit 0 ;;
  esac
  while (($#)); do
    option=$1
    [[ $option == -* ]] || break
    count=$(words_after "$option")
    if [[ $count == unknown ]]; then unsure=yes count=0; fi
    (($# > count)) || refuse "$option: nothing follows it; $expected"
    value=${2:-}
    case $option in
      -n | -np | --n | --np | -c) ranks=${ranks:-$value} ;;
      -H | -host | --host) hosts+=given host_list=$value ;;
      -hostfile | --hostfile | -machinefile | --machinefile | -f) hosts+=given host_file=$value ;;
      -wd | --wd | -wdir | --wdir) work=$value ;;
      -oversubscribe | --oversubscribe) free=yes ;;
      --map-by | -map-by) [[ ${value,,} != *oversubscribe* ]] || free=yes ;;
      -app | --app) unsure=yes ;;
    esac
    [[ $option != @(-n|-np|--n|--np|-c) || $value =~ ^[1-9][0-9]*$ ]] || refuse "$option $value: expected a number of ranks, 1 or more"
    shift $((count + 1))
  done
  program=${1:-}
}

require_program() {
  local path=$program
  [[ ! $unsure ]] || return 0
  [[ $program ]] || refuse "no program is named; $expected"
  if [[ $work ]]; then
    [[ -d $work ]] || refuse "$work: expected a folder to work in"
    [[ $path != */* || $path == /* ]] || path=$work/$path
  fi
  if [[ $path != */* ]]; then
    # mpirun also looks in the folder it works in.
    command -v -- "$path" >/dev/null || [[ -x ${work:-.}/$path && ! -d ${work:-.}/$path ]] || refuse "$program: no such program"
    return 0
  fi
  [[ -e $path ]] || refuse "$program: no such program"
  [[ ! -d $path ]] || refuse "$program: is a folder; expected a program"
  [[ -x $path ]] || refuse "$program: may not be executed; expected a program"
}

name='[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?'
require_hosts() {
  local entry rest slots=0 known=yes line=0 found=0
  if [[ $hosts && ! $host_list$host_file ]]; then refuse "-H or --hostfile: names nothing; expected -H HOST:RANKS,... or --hostfile FILE"; fi
  if [[ $host_file ]]; then
    [[ -e $host_file ]] || refuse "--hostfile $host_file: no such file; expected lines HOST slots=N"
    [[ -f $host_file || -p $host_file ]] || refuse "--hostfile $host_file: is no file; expected lines HOST slots=N"
    [[ -r $host_file ]] || refuse "--hostfile $host_file: may not be read"
    [[ -f $host_file ]] || return 0
    while read -r entry rest || [[ $entry ]]; do
      line=$((line + 1))
      [[ $entry && $entry != \#* ]] || continue
      found=$((found + 1))
      [[ $entry != *=* ]] || refuse "$host_file:$line: $entry: expected HOST slots=N"
      if [[ $entry =~ ^$name:([1-9][0-9]*)$ ]]; then
        slots=$((slots + BASH_REMATCH[2]))  # as MPICH has it
      elif [[ $rest =~ (^|[[:space:]])slots[[:space:]]*=[[:space:]]*([^[:space:]]+) ]]; then
        rest=${BASH_REMATCH[2]}
        [[ $rest =~ ^[1-9][0-9]*$ ]] || refuse "$host_file:$line: slots=$rest: expected a number, 1 or more"
        slots=$((slots + rest))
      else
        [[ ! $rest || $rest == \#* || $rest == *=* ]] || refuse "$host_file:$line: $entry $rest: expected HOST slots=N"
        known=''
      fi
    done <"$host_file"
    ((found)) || refuse "--hostfile $host_file: names no host; expected lines HOST slots=N"
  fi
  if [[ $host_list ]]; then
    [[ ! $host_file ]] || known=''
    while IFS= read -r entry; do
      [[ $entry =~ ^$name(:([1-9][0-9]*))?$ ]] || refuse "-H $host_list: '$entry': expected HOST:RANKS,..."
      slots=$((slots + ${BASH_REMATCH[3]:-1}))
    done < <(tr ',' '\n' <<<"$host_list")
  fi
  if [[ $hosts && $known && ! $free ]] && ((slots < ranks)); then
    refuse "-n $ranks: the hosts have $slots slots; expected HOST:SLOTS of -H or slots=N in the host file to add up to $ranks"
  fi
}
