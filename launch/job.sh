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
  while :; do
    code=0
    wait -f "$1" || code=$?
    kill -0 "$1" 2>/dev/null || break
  done
  # A signal may have cut the last wait short: the shell still knows the code.
  code=0
  wait "$1" 2>/dev/null || code=$?
}
