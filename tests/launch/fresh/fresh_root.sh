#!/usr/bin/env bash
# fresh_root.sh FOLDER
# For fresh_test.sh, as the first process of namespaces of its own: makes a minimal Debian 12 in FOLDER/root, and in it runs
# launch/run and launch/test --quick of a copy of FOLDER/clone, as root and then as an ordinary user, who finds the packages
# there; of the tests, that user has those of programs and scripts, since what is computed is the same for all. Network and
# registries are this machine's (host_settings.sh); LibTorch and data are fetched anew by both; of this machine's files only
# the compiler cache is used, which the ordinary user only reads.
set -euo pipefail
# shellcheck source=launch/unforeseen.sh
. "$(dirname "$0")/../../../launch/unforeseen.sh" fresh_root.sh
# shellcheck source=tests/launch/fresh/host_settings.sh
. "$(dirname "$0")/host_settings.sh"

# It ends all processes that it sees, and mounts.
if (($$ != 1)); then echo "fresh_root.sh: expected to be started by fresh_test.sh, in namespaces of its own" >&2; exit 2; fi
folder=$1 root=$1/root release=bookworm
ccache=${CCACHE_DIR:-${MUMOE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mumoe}/ccache}
passed=0 failed=0 begin=$SECONDS
tell() { echo "fresh: $* ($((SECONDS - begin)) s since the start)"; }
pass() { passed=$((passed + 1)); tell "$*"; }
fail() { failed=$((failed + 1)); tell "$*"; }
end() {
  echo "fresh: $passed passed, $failed failed"
  if ((failed > 0)); then exit 1; fi
  exit 0
}
# shellcheck disable=SC2317  # called by the trap
unforeseen() {
  ((BASH_SUBSHELL == 0)) || exit "$1"
  fail "fresh_root.sh: line $2: $3: failed (exit $1)"
  end
}

stamped() {  # the second of each line
  local line first=$SECONDS
  while IFS= read -r line || [[ $line ]]; do printf '%5d s  %s\n' $((SECONDS - first)) "$line"; done
}
stage() {  # stage NAME SECONDS COMMAND...: leaves $took, and what was said in $log; shows the end of it where it fails
  local name=$1 limit=$2 code=0 why first=$SECONDS
  log=$folder/${name// /-}.log
  shift 2
  timeout -k 20 "$limit" "$@" </dev/null > >(stamped >"$log") 2>&1 || code=$?
  # What it left behind ends with it, once the log has all that was said.
  timeout 5 tail --pid=$! -f /dev/null || true
  kill -KILL -1 2>/dev/null || true
  took="$((SECONDS - first)) s"
  ((code != 0)) || return 0
  why="exit code $code"
  if ((code == 124 || code == 137)); then why="not finished after $limit s"; fi
  echo "fresh: the end of $log:"
  tail -n 40 "$log" | sed 's/^/  | /'
  fail "$name: $why, after $took"
  return 1
}
said() { sed -E 's/^ *[0-9]+ s  //' "$log"; }

# ---- The root
mount_all() {  # what a running system has mounted
  local name i=0
  mount --bind "$root" "$root"
  mkdir "$root/.host"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount -t tmpfs -o mode=755 dev "$root/dev"
  mkdir "$root"/dev/{shm,pts}
  for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
  done
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for name in stdin stdout stderr; do ln -s "/proc/self/fd/$i" "$root/dev/$name"; i=$((i + 1)); done
}
make_root() {
  local mirror
  # shellcheck disable=SC2016  # apt-get expands them
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
           awk -v release=$release '$2 == release && $3 == "main" && !mirror { mirror = $1 } END { print mirror }')
  [[ $mirror ]] || { fail "root: the sources of this machine's apt have no $release main"; end; }
  mkdir -p "$root"
  stage root 300 debootstrap --variant=minbase $release "$root" "$mirror" || end
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/fresh"  # nothing here outlives a power cut
  take_over_settings "$root"
  mount_all
  pass "a minimal Debian 12 made in $took"
}
give_clone() {  # give_clone USER HOME: the clone, and the compiler cache as writable as it is for them
  cp -a "$folder/clone" "$root$2/mumoe"
  mkdir -p "$root$2/.cache/mumoe/ccache" "$ccache"
  chroot "$root" chown -R "$1:" "$2"
  mount --bind "$ccache" "$root$2/.cache/mumoe/ccache"
}

# The root of a namespace of mounts, not but of processes: tests there make namespaces, and enter them.
# shellcheck disable=SC2016  # the inner shell expands them
in_root=(unshare --mount -- bash -euc 'cd "$1"; pivot_root . .host; umount -l /.host; shift; exec "$@"' bash "$root")
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# ---- The two commands
both_commands() {  # both_commands USER HOME "OPTIONS OF CTEST" VARIABLE=VALUE...
  local user=$1 home=$2 sums options
  read -ra options <<<"$3"
  local within=(env PATH="$path" "${in_root[@]}" chroot --userspec="$user:" / env -i HOME="$home" USER="$user" TERM=dumb
    PATH="$path" "${variables[@]}" "${@:4}" env -C "$home/mumoe")
  if stage "$user run" 1200 "${within[@]}" launch/run --train.steps 8 --schedule.warmup 2 --train.eval_windows 2; then
    pass "$user: launch/run done in $took: $(times)"
  fi
  # The tests are counted one by one; a command that ends without its sums is one that failed.
  if stage "$user test" 1500 "${within[@]}" launch/test --quick "${options[@]}"; then failed=$((failed + 1)); fi
  sums=$(said | tail -n 1)
  if [[ $sums =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2] - 1))
  fi
  tell "$user: launch/test --quick${3:+ $3} ended in $took: $sums"
}
times() {  # the second of each part of launch/run
  sed -nE 's/^ *([0-9]+) s  (setup: installing|setup: fetching|build:|model|step 1\/|done:).*/\2 at \1 s/p' "$log" |
    sed -E 's/setup: //; s/://; s/ ?\/ / /' | paste -sd , | sed 's/,/, /g'
}

mapfile -t variables < <(registry_variables)
make_root
give_clone root /root
# But for what only computes, and did so on the host: the same library on the same processor.
both_commands root /root '-E (_threads|_np4|_golden)$'
chroot "$root" useradd --create-home --shell /bin/bash --user-group ordinary
if [[ -d $root/root/.config ]]; then cp -a "$root/root/.config" "$root/home/ordinary/"; fi
give_clone ordinary /home/ordinary
# Of the tests, what may depend on whose they are.
both_commands ordinary /home/ordinary '-R ^script_(build|data|mpirun|run_directory|setup|start|terminal)$' CCACHE_READONLY=1 CCACHE_TEMPDIR=/tmp/ccache
end
