#!/usr/bin/env bash
# Tests launch/setup: quick when there is nothing to do, plain about a TORCH_DIR that will not do; and against stand-ins
# (machine.sh) on machines where everything, half or nothing is there, may be installed or can be fetched. Nothing of
# this machine is changed, and no network is used.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../../..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

# ---- This machine
"$root/launch/setup" --quiet
begin=$(date +%s%N)
said=$("$root/launch/setup" --quiet)
took=$((($(date +%s%N) - begin) / 1000000))
((took < 2000)) || wrong "a second run took $took ms, expected less than 2000"
[[ -z $said ]] || wrong "a second run changed something: $said"

bad_torch() {  # bad_torch NAME TORCH_DIR TEXT
  local code=0
  TORCH_DIR=$2 "$root/launch/setup" --quiet >"$folder/out" 2>&1 </dev/null || code=$?
  [[ $code == 2 ]] || wrong "$1: exit code $code, expected 2: $(<"$folder/out")"
  [[ $(wc -l <"$folder/out") == 1 ]] || wrong "$1: expected one line, got: $(<"$folder/out")"
  grep -qF -- "$3" "$folder/out" || wrong "$1: expected '$3' in: $(<"$folder/out")"
}
bad_torch "no such folder" "$folder/none" "$folder/none"
bad_torch "a relative path" none "TORCH_DIR=none: expected an absolute path"
mkdir -p "$folder/torch/include/torch/headeronly" "$folder/torch/include/ATen/core" "$folder/torch/lib"
touch "$folder/torch/include/ATen/core/Tensor.h"
touch "$folder/torch/lib/libtorch_cpu.so" "$folder/torch/lib/libc10.so"
printf '#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 5\n#define TORCH_VERSION_PATCH 1\n' \
  >"$folder/torch/include/torch/headeronly/version.h"
bad_torch "another version" "$folder/torch" "2.5"

# ---- Machines of stand-ins
# shellcheck source=tests/launch/scripts/machine.sh
. "$here/machine.sh"
setup() {  # setup ARGUMENT...: leaves out, err and code in the machine's folder
  local code=0
  run_on_machine "$root/launch/setup" "$@" || code=$?
  echo $code >code
}
works() {  # works NAME [TEXT]: exits 0 and prints TEXT; LibTorch is there, and nothing half made
  setup
  [[ $(<code) == 0 && ! -s err ]] || wrong "$1: code $(<code), expected 0: $(cat out err)"
  [[ $(<out) == *"${2:-}"* ]] || wrong "$1: expected '${2:-}' in: $(<out)"
  cmp -s wheel/torch/lib/libtorch_cpu.so "$torch/torch/lib/libtorch_cpu.so" || wrong "$1: no LibTorch: $(<out)"
  nothing_half_made "$1"
  setup --quiet
  [[ $(<code) == 0 && ! -s out && ! -s err ]] || wrong "$1, a second time: code $(<code), expected silence: $(cat out err)"
}
refuses() {  # refuses NAME TEXT: one line that holds TEXT, exit code 2, nothing half made
  setup --quiet
  [[ $(<code) == 2 ]] || wrong "$1: code $(<code), expected 2: $(cat out err)"
  [[ $(wc -l <err) == 1 ]] || wrong "$1: expected one line, got: $(<err)"
  grep -qF -- "launch/setup: " err || wrong "$1: expected the script's name in: $(<err)"
  grep -qF -- "$2" err || wrong "$1: expected '$2' in: $(<err)"
  nothing_half_made "$1"
}
nothing_half_made() {
  local left
  left=$(compgen -G "$torch/../.[lw]*" || true)
  [[ -z $left ]] || wrong "$1: left behind: $left"
}

machine nothing_installed
works nothing_installed "installing g++ cmake"
[[ $(<asked) == *" python3 python3-pip "* ]] || wrong "nothing installed: python3 was not asked for: $(<asked)"

[[ $(find "$torch/torch/include" -type f -printf '%TY\n' | sort -u) == 2000 ]] || wrong "headers have times of their own"

machine half_installed
printf '%s\n' g++ cmake ninja-build python3 python3-pip >>installed
provide python3 c++ cmake
works half_installed "installing ccache pkg-config"
[[ $(<asked) != *" g++ "* && $(<asked) != *" python3"* ]] || wrong "half installed: asked for what was there: $(<asked)"

machine no_root_and_no_sudo
echo 1000 >uid
refuses no_root_and_no_sudo "run once as root: apt-get update && apt-get install -y --no-install-recommends g++ cmake"
[[ ! -s asked ]] || wrong "no root: apt-get was called: $(<asked)"
echo 0 >uid
works "root after no_root"

machine sudo_with_a_password
echo 1000 >uid
provide sudo
touch password
refuses sudo_with_a_password "run once: sudo apt-get update && sudo apt-get install -y --no-install-recommends g++ cmake"
rm password
works "sudo without a password" "installing g++"

machine no_lists_and_no_network
touch update_fails
printf '%s\n' g++ cmake >unknown
refuses no_network "apt-get update failed: W: Failed to fetch"
rm update_fails unknown
works "the network is back"

machine no_network_but_lists
touch update_fails
works no_network_but_lists "apt-get update failed, installed from the lists that were there"

machine failing_downloads
touch install_fails
refuses failing_downloads "apt-get install failed: E: Unable to fetch some archives"
rm install_fails
works "downloads work again"

machine old_debian
printf '%s\n' ccache librapidcheck-dev >unknown
refuses old_debian "no such package in the sources of "
grep -qF ": ccache librapidcheck-dev; expected those of Debian 12 or later" err || wrong "old_debian: no names in: $(<err)"
rm unknown
echo 3.18.4 >cmake_version
refuses "an old cmake" "cmake is 3.18.4: expected 3.25 or later"
rm cmake_version
echo 10.2.1 >gcc_version
refuses "an old compiler" "c++ is 10.2.1: expected 12 or later"
rm gcc_version
works "a new Debian"

machine pip_fails
touch pip_fails
refuses pip_fails "pip failed: ERROR: No matching distribution found for torch"
rm pip_fails
works "pip works again" "fetching LibTorch"

machine cut_off
touch cut_off
refuses cut_off "pip left not all of LibTorch"
rm cut_off
works "fetched again"
rm "$torch/torch/include/ATen/core/Tensor.h"
works "a header is gone" "not all of LibTorch"
truncate -s 10 "$torch/torch/lib/libtorch_cpu.so"
works "a library was cut" "not all of LibTorch"
rm -r "$torch"
works "LibTorch is gone" "fetching LibTorch"
mkdir "$torch/../.libtorch.123" "$torch/../.wheels.a123"
works "after a fetch that was killed"

machine cuda
works no_nvcc "no nvcc: the CUDA half is left out"
provide nvcc
echo 12.4 >cuda_version
works "CUDA 12" "CUDA 12.4 in $PWD is not 13.x with nccl.h: the CUDA half is left out"
echo broken >cuda_version
works "a broken nvcc" "CUDA of unknown version in $PWD is not 13.x"
echo 13.0 >cuda_version
mkdir include
touch include/nccl.h
works "CUDA 13" "fetching wheels for libcudnn.so.9"
grep -q "nvidia-cudnn-cu13==9.1" fetched || wrong "CUDA 13: fetched $(<fetched)"

machine folders
machine_home="" refuses "no HOME" "none of MUMOE_CACHE, XDG_CACHE_HOME and HOME is set"
machine_cache=here refuses "a relative cache" "the cache folder here: expected an absolute path"
machine_cache=$PWD/uid/cache refuses "no folder" "$PWD/uid/cache cannot be created: set MUMOE_CACHE"

# ---- Whatever fails says so
machine failing_commands
works "before commands fail"
for command in "${machine_commands[@]}"; do
  [[ $command != bash && $command != dirname ]] || continue  # without these no script begins
  machine "failing_$command"
  fails_here "$command"
  setup --quiet
  [[ $(<code) == 0 || $(tail -n 1 err) == "launch/setup: "?* ]] || wrong "$command fails: code $(<code) without a reason: $(<err)"
  nothing_half_made "$command fails"
done

((failures == 0)) || { echo "$failures failed"; exit 1; }
