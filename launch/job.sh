# shellcheck shell=bash
# To be sourced by what starts ranks.
# shellcheck disable=SC2034  # $code is for who sources this

# checkpoints RUN_DIRECTORY: prints the folders that `mumoe train --train.resume` takes for checkpoints.
checkpoints() {
  local path
  for path in "$1"/checkpoints/step_*/state.safetensors; do
    if [[ -e $path && ${path%/*} =~ /step_[0-9]+$ ]]; then echo "${path%/*}"; fi
  done
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
