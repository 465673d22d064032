# shellcheck shell=bash
# To be sourced: goes to a folder of the test's own, which ends with it, and counts what is wrong.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
export OMP_NUM_THREADS=1

failures=0
wrong() { echo "FAILED: $*"; failures=$((failures + 1)); }
# quiet COMMAND...: it succeeds; what it says is in stdout and stderr.
quiet() { timeout -k 5 60 "$@" >stdout 2>stderr </dev/null || wrong "code $?: $*: $(<stderr)"; }
# refused NAME TEXT COMMAND...: within $limit seconds (60) exit code 2 and one line on stderr, which holds TEXT and is no library's.
refused() {
  local name=$1 text=$2 code=0
  timeout -k 5 "${limit:-60}" "${@:3}" >stdout 2>stderr </dev/null || code=$?
  [[ $code == 2 ]] || wrong "$name: exit code $code, expected 2: $(<stderr)"
  [[ $(wc -l <stderr) == 1 ]] || wrong "$name: expected one line, got: $(<stderr)"
  grep -qaF -- "$text" stderr || wrong "$name: expected '$text' in: $(<stderr)"
  if grep -qaE '\[json\.|exception|std::|c10' stderr; then wrong "$name: a library speaks: $(<stderr)"; fi
}
# end: says whether all passed.
end() {
  ((failures == 0)) || { echo "$failures failed"; exit 1; }
  echo "all passed"
}
