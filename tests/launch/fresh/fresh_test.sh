#!/usr/bin/env bash
# fresh_test.sh FOLDER
# The README's two commands in a Debian 12 made from nothing: a clone of this repository's last commit, launch/run with a
# few steps and launch/test --quick (fresh_root.sh). Needs root: all of it happens in namespaces of its own, which leave
# nothing mounted and no process. FOLDER takes the root, which is gone in the end, and a log of each stage.
# The last line is `fresh: N passed, N failed`.
set -euo pipefail
# shellcheck source=launch/unforeseen.sh
. "$(dirname "$0")/../../../launch/unforeseen.sh" fresh_test.sh

here=$(realpath "$(dirname "$0")")
repository=$(realpath "$here/../../..")
folder=$(realpath -m "$1") inside=''
fail() {
  echo "fresh: $*"
  echo "fresh: 0 passed, 1 failed"
  exit 1
}
# shellcheck disable=SC2317  # called by the trap
unforeseen() { ((BASH_SUBSHELL)) || fail "line $2: $3: failed (exit $1)"; }
# shellcheck disable=SC2317  # called by the trap
leave() {
  # The namespaces' first process: with it every other ends, and every mount.
  if [[ $inside ]]; then kill -KILL "$inside" 2>/dev/null || true; wait "$inside" 2>/dev/null || true; fi
  rm -rf --one-file-system "$folder/root" "$folder/clone"
}

(($(id -u) == 0)) || fail "expected to be root, to make a root and to change to it"
command -v debootstrap >/dev/null || fail "no debootstrap: run launch/setup --tests"
mkdir -p "$folder"
exec 9>"$folder/lock"
flock -n 9 || fail "another one is at work in $folder"
trap leave EXIT
trap 'exit 130' INT TERM HUP
rm -rf --one-file-system "$folder/root" "$folder/clone"  # of one that was killed
rm -f "$folder"/*.log
free=$(df --output=avail -B 1G "$folder" | tail -n 1)
((free >= 12)) || fail "$folder has ${free// /} GB free: expected 12"

# The repository may belong to someone else, and be shallow or a worktree.
printf '[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n' >"$folder/gitconfig"
export GIT_CONFIG_GLOBAL=$folder/gitconfig
git clone --quiet --no-hardlinks "$repository" "$folder/clone" >"$folder/clone.log" 2>&1 ||
  fail "git clone failed: $(tail -n 1 "$folder/clone.log") (all of it: $folder/clone.log)"
if [[ $(git -C "$repository" status --porcelain --untracked-files=no) ]]; then
  echo "fresh: what is not committed here is not in what is tested"
fi
unset GIT_CONFIG_GLOBAL

setpriv --pdeathsig KILL unshare --mount --pid --ipc --uts --fork --kill-child=KILL -- "$here/fresh_root.sh" "$folder" &
inside=$!
code=0
wait $inside || code=$?
inside=''
exit $code
