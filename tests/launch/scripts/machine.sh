# shellcheck shell=bash disable=SC2154,SC2034  # $root and $folder are given, $torch is for who sources this
# To be sourced, with $root and $folder: machines of stand-ins (stand_ins/) for launch/setup. Each is a folder, whose files
# say how it is.
#
#   machine NAME               makes one, on which nothing is installed, and goes there; $torch is where LibTorch belongs
#   provide NAME...            puts stand-ins on its PATH: python3, cmake, c++, sudo, nvcc
#   fails_here NAME            puts a program there that fails
#   run_on_machine COMMAND...  with that PATH alone; what it says is in out and err
#
# installed: packages; unknown: packages that apt-get does not know; uid; password: sudo asks for one; update_fails,
# install_fails; pip_fails; cut_off: pip leaves half a library; cmake_version, gcc_version, cuda_version. Written there:
# asked, the packages of apt-get; fetched, the arguments of pip.

# What is found on every Debian.
machine_commands=(awk basename bash cat chmod comm cp cut dirname env find flock grep head mkdir mv paste readlink rm sed sort
  tail touch tr true)
torch_version=$(sed -n 's/^torch_version=//p' "$root/launch/setup")
stand_ins=$root/tests/launch/scripts/stand_ins

machine() {
  local name
  mkdir -p "$folder/machines/$1/"{bin,home,packages}
  cd "$folder/machines/$1" || exit
  torch=$PWD/home/.cache/mumoe/libtorch-$torch_version
  for name in "${machine_commands[@]}"; do ln -s "$(command -v "$name")" "bin/$name"; done
  : >installed
  : >asked
  : >fetched
  echo 0 >uid
  cp "$stand_ins"/{python3,cmake,c++} packages/
  provide id dpkg-query apt-get ldd
  make_wheel
}
provide() {
  local name
  for name; do cp "$stand_ins/$name" bin/; done
}
fails_here() {
  rm "bin/$1"
  printf '#!/bin/sh\necho "%s cannot" >&2\nexit 7\n' "$1" >"bin/$1"
  chmod +x "bin/$1"
}
run_on_machine() {
  env -i PATH="$PWD/bin" HOME="${machine_home-$PWD/home}" MUMOE_CACHE="${machine_cache:-}" CUDA_HOME="$PWD/no-cuda" \
    "$@" >out 2>err </dev/null
}

make_wheel() {
  local info=wheel/torch-$torch_version.dist-info version
  mkdir -p wheel/torch/include/{ATen/core,torch/headeronly} wheel/torch/lib "$info"
  IFS=. read -ra version <<<"$torch_version"
  printf "#define TORCH_VERSION_%s %s\n" MAJOR "${version[0]}" MINOR "${version[1]}" PATCH "${version[2]}" \
    >wheel/torch/include/torch/headeronly/version.h
  echo tensor >wheel/torch/include/ATen/core/Tensor.h
  head -c 1000 /dev/zero >wheel/torch/lib/libtorch_cpu.so
  echo 'Requires-Dist: nvidia-cudnn-cu13==9.1; platform_system == "Linux"' >"$info/METADATA"
  # pip ends the lines of its lists so.
  (cd wheel && find torch -type f -printf '%p,sha256=abc,%s\r\n') >"$info/RECORD"
}
