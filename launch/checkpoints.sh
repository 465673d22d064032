# shellcheck shell=bash
# To be sourced: checkpoints RUN_DIRECTORY prints the folders that `mumoe train --train.resume` takes for checkpoints.
checkpoints() {
  local path
  for path in "$1"/checkpoints/step_*/state.safetensors; do
    if [[ -e $path && ${path%/*} =~ /step_[0-9]+$ ]]; then echo "${path%/*}"; fi
  done
}
