# shellcheck shell=bash
# To be sourced by launch/mpirun: what mpirun and the ranks say on stderr, line by line. Noise of Open MPI goes to a file,
# an end at the start becomes one line and a code, all else goes on as it comes.
# shellcheck disable=SC2154  # $log and $end are of who sources this

keep() {  # keep TEXT: in the file or, where that cannot be written, on stderr
  local line
  while IFS= read -r line; do
    printf '%(%F %T)T %s %s\n' -1 $$ "$line" 2>/dev/null >>"$log" || printf '%s\n' "$line" >&2
  done <<<"$1"
}
known_line() {
  [[ $1 != "mpirun: Forwarding signal "* ]] || return 0
  [[ $1 == \[*\]* ]] || return 1
  case $1 in
    # Its event library, at the end of a process whose connections another thread has closed.
    "[warn] Epoll "*" on fd "*": Bad file descriptor"* | "[warn] event_"*": event has no event_base set."*) ;;
    *"] Read -1, expected "*", errno = "* | *"] PMIX ERROR: "*) ;;
    *"btl_tcp_"*"failed: "*"Connection reset by peer"* | *"btl_tcp_"*"failed: "*"Broken pipe"*) ;;
    *"more process"*" sent help message "* | *"to see all help / error messages"*) ;;
    *"FORCE-TERMINATE AT "* | *"ORTE_ERROR_LOG: "*"show_help.c"*) ;;
    *) return 1 ;;
  esac
}
known_box() {  # what they say, the ranks' own lines and the exit code tell
  case $1 in
    *"MPI_ABORT was invoked on rank"* | *"Primary job "*"terminated normally, but"*) ;;
    *"detected that one or more processes exited with non-zero status"*) ;;
    *"noticed that process rank "*" exited on signal "* | *"communication peer process has unexpectedly disconnected"*) ;;
    *) return 1 ;;
  esac
}
field() { sed -n "s/^[[:space:]]*$1:[[:space:]]*//p" <<<"$2" | head -n 1; }  # field NAME BOX
# why BOX: where it says that the ranks could not be started, sets $reason to that as a line and $failed to the code.
why() {
  local name
  failed=2
  case $1 in
    *"could not access"*"Executable: "*)
      reason="$(field Executable "$1") on host $(field Node "$1"): expected a program that can be run there" ;;
    *"tried to fork a new process"*)
      reason="$(field "Application name" "$1") on host $(field "Local host" "$1"): $(field Error "$1"); expected a program" ;;
    *"change to the specified working directory"*)
      reason="$(field "Working directory" "$1") on host $(field Node "$1"): expected a folder to work in" ;;
    *"not enough slots available"* | *"nodes which are allocated for this job are already filled"*)
      reason="the hosts have fewer slots than ranks are asked for: expected HOST:SLOTS of -H or slots=N in the host file to add up to them" ;;
    *"No nodes are available for this job"*) reason="no host is left to start ranks on; expected -H or a host file to name one" ;;
    *"unable to open the hostfile"*)
      name=$(sed -n '/unable to open the hostfile/{n;s/^ *//p}' <<<"$1")
      reason="$name: expected a host file, lines HOST slots=N" ;;
    *"bad parameter in the hostfile"*)
      name=$(sed -n '/in the hostfile/{n;s/^ *//p}' <<<"$1")
      reason="$name: expected lines HOST slots=N" ;;
    *"the MCA parameter \"plm_rsh_agent\""*)
      reason="$(field plm_rsh_agent "$1"): not found; expected ssh, or what OMPI_MCA_plm_rsh_agent names" ;;
    *"illegal character in the following node name"*) reason="host $(field node "$1"): expected letters, digits, dots and hyphens" ;;
    *" is not recognized"* | *"unrecognized "* | *"not recognized:"*)
      name=$(sed -nE 's/^[[:space:]]*[A-Z][a-zA-Z ]*:[[:space:]]*(.+)$/\1/p' <<<"$1" | head -n 1)
      reason="${name:-an option}: $(sed -n '2s/:$//p' <<<"$1")" ;;
    *"unable to reliably start one or more daemons"*)
      name=${cause##*$'\n'}
      [[ $cause == *"Could not resolve hostname"* ]] || failed=5
      reason="no ranks could be started on another host: ${name:-how it was reached said nothing}" ;;
    *) return 1 ;;
  esac
}
# Of several ranks that miss the same one, or end after another has said why, one line and a number.
consequence() {  # consequence LINE
  [[ $1 == "mumoe: rank "*": rank "*" is gone: its process "* || $1 == "mumoe: rank "*"Connection reset by peer"* ]]
}
cause='' reason='' failed=0 others=0 told=''
one_line() {  # one_line LINE: that is none of a box
  case $1 in
    mumoe:*)
      if consequence "$1" && [[ $told ]]; then
        others=$((others + 1))
        keep "$1"
        return
      fi
      told=yes
      printf '%s\n' "$1" ;;
    "mpirun: Error: "*)
      reason=${1#mpirun: Error: } failed=2
      keep "$1" ;;
    "ssh: "* | *"Permission denied ("* | "Host key verification failed"* | "kex_exchange_identification: "* | "Connection closed by "*)
      cause+=${cause:+$'\n'}$1 ;;
    *)
      if [[ $reason ]] || known_line "$1"; then keep "$1"; else printf '%s\n' "$1"; fi ;;
  esac
}
one_box() {
  if known_box "$1" || [[ $reason ]] || why "$1"; then keep "${1%$'\n'}"; else printf '%s' "$1"; fi
}
pass_on() {  # until the line $end, or the end of all writers; returns 0 or the code of an end at the start
  local line='' rest='' box='' held=0 waited=0 got rule
  printf -v rule '%074d' 0
  rule=${rule//0/-}
  while :; do
    got=0
    IFS= read -r -t 0.5 line || got=$?
    line=$rest$line rest=''
    ((got > 128)) || [[ $box ]] || waited=0
    if ((got > 128)) && [[ $line == *"${end:0:1}"* ]]; then  # part of the line that ends it
      rest=$line
    elif ((got > 128)) && [[ $box || ($line && $rule == "$line"*) ]] && ((waited < 10)); then  # a box in the making
      rest=$line waited=$((waited + 1))
    elif ((got > 128)); then  # part of a line: nobody knows for how long
      printf '%s' "$box$line"
      box=''
    elif ((got)) || [[ $line == *"$end" ]]; then
      printf '%s' "$box${line%"$end"}"
      break
    elif [[ $line == mumoe:* ]]; then
      one_line "$line"
    elif [[ $box ]]; then
      box+=$line$'\n'
      held=$((held + 1))
      if [[ $line == "$rule" ]]; then
        one_box "$box"
        box=''
      elif ((held > 40)); then
        printf '%s' "$box"
        box=''
      fi
    elif [[ $line == "$rule" ]]; then
      box=$line$'\n' held=0 waited=0
    else
      one_line "$line"
    fi
  done
  if [[ $reason ]]; then
    printf 'launch/mpirun: %s\n' "$reason"
    [[ ! $cause ]] || keep "$cause"
    return "$failed"
  fi
  [[ ! $cause ]] || printf '%s\n' "$cause"
  if ((others == 1)); then echo "launch/mpirun: 1 other rank ended with it"; fi
  if ((others > 1)); then echo "launch/mpirun: $others other ranks ended with it"; fi
  return 0
}
