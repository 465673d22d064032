# shellcheck shell=bash
# To be sourced: what of this machine's network and registries a root made anew must have to reach them.
#
#   take_over_settings ROOT   name resolution, apt's sources and settings, pip's, certificates
#   registry_variables        prints NAME=VALUE of those environment variables that belong to them

copy_to() {  # copy_to ROOT PATH...: those that are there, at the same paths, links to files followed where they lead out
  local root=$1 path
  shift
  for path; do
    [[ -e $path ]] || continue
    mkdir -p "$root$(dirname "$path")"
    if [[ -d $path ]]; then
      mkdir -p "$root$path"
      cp -a "$path/." "$root$path/"
    else
      cp -L "$path" "$root$path"
    fi
  done
}

take_over_settings() {
  local root=$1 file
  copy_to "$root" /etc/resolv.conf /etc/hosts
  rm -rf "$root"/etc/apt/sources.list{,.d}
  copy_to "$root" /etc/apt/{sources.list,sources.list.d,auth.conf,auth.conf.d,keyrings,trusted.gpg,trusted.gpg.d} \
    /etc/apt/{preferences,preferences.d} /usr/share/keyrings
  # How to fetch; not what else this machine does after an installation.
  apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/80host"
  copy_to "$root" /etc/ssl/certs /etc/ca-certificates.conf /usr/share/ca-certificates /usr/local/share/ca-certificates
  copy_to "$root" /etc/pip.conf /etc/xdg/pip
  for file in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    if [[ -e $file ]]; then
      mkdir -p "$root/root/.config/pip"
      cp -L "$file" "$root/root/.config/pip/pip.conf"
      break
    fi
  done
  # Files and folders (of wheels, of certificates) that these settings name.
  {
    sed -n 's/.* "\(\/[^"]*\)";$/\1/p' "$root/etc/apt/apt.conf.d/80host" | grep -v '^/\(dev\|usr/bin\|bin\)/' || true
    registry_variables | cut -d = -f 2- | tr ' ' '\n'
  } | sort -u | while read -r file; do
    case $file in
      / | /etc/ssl/certs | "$root"/*) ;;
      /*) copy_to "$root" "$file" ;;
    esac
  done
}

registry_variables() {
  local name
  for name in "${!PIP_@}" {http,https,ftp,all,no}_proxy {HTTP,HTTPS,FTP,ALL,NO}_PROXY \
    SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE; do
    case $name in
      PIP_CACHE_DIR | PIP_TARGET | PIP_PREFIX | PIP_REQUIRE_VIRTUALENV | PIP_USER) ;;
      *) [[ -z ${!name:-} ]] || echo "$name=${!name}" ;;
    esac
  done
}
