# shellcheck shell=bash
# Two hosts on one machine, for tests; to be sourced. Each is a set of namespaces (network, host name, IPC, mounts) with
# its own /etc/hosts and /dev/shm; a pair of virtual Ethernet devices joins them. Files, processes and cores are shared.
# Needs root. The hosts end with the script that made them, however it ends.
#
#   make_hosts FOLDER      host-a (10.77.0.1) and host-b (10.77.0.2); FOLDER holds what belongs to them
#   on HOST COMMAND...     runs a command there, in the current folder
#   cut_link               takes the link down
#   processes_on HOST      process ids there, but for the host's own
#   end_processes          ends what still runs there
#   remove_hosts

# shellcheck disable=SC2034  # for who sources this
two_hosts_subnet=10.77.0.0/24

make_hosts() {
  two_hosts=$(realpath "$1")
  local host pid i
  printf '127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n' >"$two_hosts/hosts"
  for host in host-a host-b; do
    # shellcheck disable=SC2016  # the inner shell expands them
    setpriv --pdeathsig KILL unshare --net --uts --ipc --mount -- bash -c '
      set -e
      hostname "$1"
      mount --bind "$2/hosts" /etc/hosts
      mount -t tmpfs -o size=1g none /dev/shm
      ip link set lo up
      touch "$2/$1.up"
      exec sleep infinity' host "$host" "$two_hosts" 2>"$two_hosts/$host.log" &
    echo $! >"$two_hosts/$host.pid"
    disown $! 2>/dev/null || true  # its end is no news
  done
  for host in host-a host-b; do
    pid=$(<"$two_hosts/$host.pid")
    for ((i = 0; i < 100; i++)); do
      if [[ -e $two_hosts/$host.up ]] || ! kill -0 "$pid" 2>/dev/null; then break; fi
      sleep 0.1
    done
    [[ -e $two_hosts/$host.up ]] ||
      { echo "no $host: namespaces need root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): $(<"$two_hosts/$host.log")"; return 1; }
  done
  ip link add eth0 netns "$(<"$two_hosts/host-a.pid")" type veth \
    peer name eth0 netns "$(<"$two_hosts/host-b.pid")" || { echo "no link between the hosts"; return 1; }
  on host-a ip address add 10.77.0.1/24 dev eth0
  on host-b ip address add 10.77.0.2/24 dev eth0
  on host-a ip link set eth0 up
  on host-b ip link set eth0 up
}

on() { nsenter --target "$(<"$two_hosts/$1.pid")" --net --uts --ipc --mount -- env -C "$PWD" "${@:2}"; }

cut_link() { on host-a ip link set eth0 down; }

processes_on() {
  local holder space inode pid
  holder=$(<"$two_hosts/$1.pid")
  space=$(stat -L -c %i "/proc/$holder/ns/net" 2>/dev/null) || return 0
  # One that has ended and waits for its parent has no namespace any more.
  while read -r inode pid; do
    pid=${pid#/proc/} pid=${pid%%/*}
    if [[ $inode == "$space" && $pid != "$holder" ]]; then echo "$pid"; fi
  done < <(stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null)
}

end_processes() {
  local pid
  for pid in $(processes_on host-a) $(processes_on host-b); do kill -KILL "$pid" 2>/dev/null || true; done
}

remove_hosts() {
  local host
  [[ -n ${two_hosts:-} ]] || return 0
  end_processes
  for host in host-a host-b; do
    if [[ -e $two_hosts/$host.pid ]]; then kill -KILL "$(<"$two_hosts/$host.pid")" 2>/dev/null || true; fi
  done
}
