#!/usr/bin/env bash
# Tests launch/build with a project of one file: a clone that was copied, moved, or whose build folder came from another,
# builds its own sources; by another path to the same clone nothing is built anew; what was cut off, and a compiler or
# LibTorch that is another now, is noticed; whatever fails says so.
set -euo pipefail

root=$(realpath "$(dirname "$0")/../../..")
folder=$(mktemp -d)
mounted=''
trap '[[ -z $mounted ]] || umount "$mounted"; rm -rf "$folder"' EXIT
failures=0
wrong() { echo "$*"; failures=$((failures + 1)); }

cd "$folder"
unset CXX CXXFLAGS LDFLAGS TORCH_DIR "${!CCACHE_@}"
export MUMOE_CACHE=$folder/cache CUDA_HOME=$folder/no-cuda
mkdir -p one/launch cache/libtorch-2.11.0/torch/lib bin
cp "$root/launch/build" "$root/launch/unforeseen.sh" one/launch
cp "$root/CMakePresets.json" one
cat >one/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(tiny LANGUAGES CXX)
add_executable(tiny tiny.cpp)
find_library(EXTRA extra HINTS ${CMAKE_SOURCE_DIR}/../lib1 ${CMAKE_SOURCE_DIR}/../lib2 NO_DEFAULT_PATH)
if(EXTRA)
  target_link_libraries(tiny PRIVATE ${EXTRA})
endif()
CMAKE
say() { printf '#include <cstdio>\nint main() { std::puts("%s"); }\n' "$2" >"$1/tiny.cpp"; }  # say CLONE TEXT

# builds NAME CLONE TEXT [SAID]: what is built there prints TEXT, and launch/build says SAID
builds() {
  local code=0
  timeout 60 "$2/launch/build" release >out 2>err </dev/null || code=$?
  [[ $code == 0 ]] || { wrong "$1: code $code: $(cat out err)"; return 0; }
  [[ $("$2/build/release/tiny") == "$3" ]] || wrong "$1: built what prints '$("$2/build/release/tiny")', expected '$3'"
  grep -q "${4:-}" out || wrong "$1: expected '${4:-}' in: $(<out)"
}
say one first
builds "a clone" one first "is built"
builds "again" one first "up to date"

cp -r one two
say two second
builds "a copy" two second "is built"
builds "its original" one first "up to date"
cp -a one three
rm -r one/build
say three third
builds "a copy of a changed original" three third "is built"
mv three four
builds "moved" four third "is built"
say four fourth
builds "moved and changed" four fourth "is built"
builds "moved, again" four fourth "up to date"

# The build folder of another clone, put into this one.
cp -a four/build one/
builds "a build folder that was copied" one first "is built"

# The same clone, by a link and by another mount.
ln -s one link
builds "by a link" link first "up to date"
mv one five
ln -s five one
builds "moved, and found by its old path" five first "up to date"
rm one
if (($(id -u) == 0)) && mkdir there && mount --bind five there 2>/dev/null; then
  mounted=$folder/there
  builds "moved for good" five first "is built"
  builds "by another mount" there first "up to date"
  builds "and by its own path" five first "up to date"
fi

# What has changed beside the sources.
# shellcheck disable=SC2016  # the program expands them
printf '#!/bin/sh\nif [ "$1" = -dumpfullversion ]; then echo 99.1; else exec c++ "$@"; fi\n' >bin/other
chmod +x bin/other
CXX=$folder/bin/other builds "another compiler" five first "is built"
builds "the first compiler" five first "is built"
echo other >cache/libtorch-2.11.0/torch/lib/libtorch_cpu.so
builds "another LibTorch" five first "is built"
builds "the same LibTorch" five first "up to date"
sed -i 's/"Release"/"MinSizeRel"/' five/CMakePresets.json
builds "other presets" five first "is built"
mkdir lib1 lib2
touch empty.cpp
c++ -shared -o lib1/libextra.so empty.cpp
rm -rf five/build
builds "with a library" five first "is built"
mv lib1/libextra.so lib2/
builds "the library is elsewhere" five first "is built"

# Cut off in the middle of configuring, and of building.
rm five/build/release/.configured
echo "not finished" >five/build/release/CMakeCache.txt
builds "an unfinished configuration" five first
: >five/build/release/build.ninja
rm five/build/release/.configured
builds "an empty build.ninja" five first

# What one clone compiled, another finds in the compiler cache, whatever language its user has.
for clone in six seven; do
  mkdir -p $clone/launch $clone/cmake
  cp "$root/launch/build" "$root/launch/unforeseen.sh" $clone/launch
  cp "$root/CMakePresets.json" $clone
  cp "$root/cmake/Toolchain.cmake" $clone/cmake
  printf 'cmake_minimum_required(VERSION 3.25)\nproject(tiny LANGUAGES CXX)\ninclude(cmake/Toolchain.cmake)\n%s\n' \
    'add_executable(tiny tiny.cpp)' >$clone/CMakeLists.txt
  say $clone cached
done
export CCACHE_DIR=$folder/compiled
env -u LC_ALL -u LC_CTYPE -u LC_MESSAGES LANG=C.UTF-8 six/launch/build >/dev/null
ccache --zero-stats >/dev/null
LC_ALL=POSIX LC_MESSAGES=de_DE LANG='' builds "another user's clone" seven cached "is built"
hits=$(ccache --print-stats | awk '/^(direct|preprocessed)_cache_hit/ { sum += $2 } END { print sum + 0 }')
[[ $hits == 1 ]] || wrong "another user's clone: $hits found in the compiler cache, expected 1"

# Nothing outside build/ is ever removed.
code=0
five/launch/build ../five >out 2>err || code=$?
[[ $code == 2 && -e five/tiny.cpp ]] || wrong "a preset that is a path: code $code: $(cat out err)"

# Whatever fails says so, where its output is as well.
fails() {  # fails NAME CODE TEXT COMMAND...
  local code=0
  timeout 60 "${@:4}" >out 2>err </dev/null || code=$?
  [[ $code == "$2" ]] || wrong "$1: code $code, expected $2: $(cat out err)"
  tail -n 1 err | grep -qF -- "$3" || wrong "$1: expected '$3' at the end of: $(<err)"
}
echo 'int main() { return x; }' >five/tiny.cpp
fails "a mistake in the sources" 1 "launch/build: release: building failed (all of it: $folder/five/build/release.log)" five/launch/build
grep -q "tiny.cpp:1:21: error" err || wrong "a mistake in the sources: no compiler's message in: $(<err)"
fails "an unknown preset" 1 "launch/build: none: configuring failed" five/launch/build none
say five first
for command in cmake cksum flock mkdir nproc stat rm; do
  printf '#!/bin/sh\necho "%s cannot" >&2\nexit 7\n' $command >bin/$command
  chmod +x bin/$command
  rm -f five/build/release/.configured
  fails "$command fails" 1 "launch/build: " env PATH="$folder/bin:$PATH" five/launch/build
  rm bin/$command
done
fails "no HOME" 2 "none of MUMOE_CACHE, XDG_CACHE_HOME and HOME is set" env -u MUMOE_CACHE -u XDG_CACHE_HOME -u HOME five/launch/build

((failures == 0)) || { echo "$failures failed"; exit 1; }
