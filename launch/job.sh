# shellcheck shell=bash
# To be sourced by what starts ranks.
# shellcheck disable=SC2034  # $code is for who sources this

# checkpoints RUN_DIRECTORY: prints the folders that `mumoe train --train.resume` takes for checkpoints.
checkpoints() {
  local path
  for path in "$1"/checkpoints/step_*; do
    [[ $path =~ /step_[0-9]+$ ]] || continue
    if [[ -e $path/manifest.json || -e $path/state.safetensors ]]; then echo "$path"; fi
  done
}

# newest RUN_DIRECTORY: prints the step of its newest checkpoint, -1 where there is none.
newest() {
  local path step=-1
  while read -r path; do
    path=${path##*_}
    if ((10#$path > step)); then step=$((10#$path)); fi
  done < <(checkpoints "$1")
  echo "$step"
}

# can_go_on CODE: whether a run that ended with CODE may come further when it is started again. One that is done is done,
# and bad input (2) and numbers that are not finite (4) would only be found again.
can_go_on() { [[ $1 != 0 && $1 != 2 && $1 != 4 ]]; }

# how_it_ended CODE: prints it in words; codes above 128 are those of a killed rank.
how_it_ended() {
  case $1 in
    0) echo "done" ;;
    2) echo "bad input" ;;
    3) echo "stopped before its end" ;;
    4) echo "non-finite numbers" ;;
    5) echo "communication failure" ;;
    *)
      if (($1 > 128)); then
        echo "a rank was killed by signal $(($1 - 128)) (SIG$(kill -l $(($1 - 128)) 2>/dev/null || echo "?"))"
      else
        echo "internal error, code $1"
      fi ;;
  esac
}

# wait_for PID: waits for a child to its end, whatever signals come meanwhile, and sets $code to its exit code.
wait_for() {
  local now
  code=127
  while :; do
    now=0
    wait -f "$1" 2>/dev/null || now=$?
    # 127: there is no such child any more, of which the shell has told the code.
    ((now != 127)) || return 0
    code=$now
    if ((code <= 128)) || ! kill -0 "$1" 2>/dev/null; then break; fi
  done
  # A signal may have cut the last wait short: the shell still knows the code.
  now=0
  wait "$1" 2>/dev/null || now=$?
  ((now == 127)) || code=$now
}
