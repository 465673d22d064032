# shellcheck shell=bash
# . unforeseen.sh NAME
# To be sourced at the head of the script NAME: a command that fails where the script does not reckon with it ends the
# script with a line that says which, and where its output is: above, and in $log where the script has set it.
set -E  # in functions as well

unforeseen_in=$1
unforeseen() {  # unforeseen CODE LINE COMMAND
  # The command that holds a subshell tells.
  ((BASH_SUBSHELL == 0)) || exit "$1"
  echo "$unforeseen_in: line $2: ${3%%$'\n'*}: failed (exit $1)${log:+; its output: $log}" >&2
  exit 1
}
trap 'unforeseen $? $LINENO "$BASH_COMMAND"' ERR
