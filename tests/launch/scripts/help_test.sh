#!/usr/bin/env bash
# help_test.sh MUMOE: help for whoever asks, wherever; as wide as the terminal; options that stand twice; notes at the start.
set -euo pipefail
mumoe=$(realpath "$1")
root=$(realpath "$(dirname "$0")/../../..")
# shellcheck source=tests/launch/scripts/tiny_model.sh
source "$(dirname "$0")/tiny_model.sh" 1 8
unset COLUMNS
cat >>tiny.cfg <<CONFIG
tokenizer = bytes
[train]
steps = 4
batch = 2
precision = fp32
gemm = mkl
eval_windows = 2
CONFIG

# The same text, however it is asked for, and nothing else is done.
same_help() {  # same_help PAGE WORDS...
  "$mumoe" help ${1:+"$1"} >page
  quiet "$mumoe" "${@:2}"
  cmp -s page stdout || wrong "mumoe ${*:2}: not the help of '$1': $(head -n 3 stdout)"
  [[ ! -s stderr ]] || wrong "mumoe ${*:2}: $(<stderr)"
}
same_help "" -h
same_help "" --help
same_help "" help
same_help "" --config nowhere.cfg -h
same_help train help train --help
same_help train train -h
same_help train train --config nowhere.cfg --help --nothing known
same_help sample sample --run nowhere -h
same_help eval eval --run nowhere -h
same_help data data --help
same_help inspect inspect nowhere -h
same_help scale scale nowhere.json --out x -h
same_help predict-check predict-check nowhere.csv -h
same_help bench bench comm --rounds 3 -h
same_help bench bench layer --help
refused "help of nothing" "mumoe nothing: no such subcommand" "$mumoe" nothing --help
quiet "$root/launch/mpirun" -n 2 "$mumoe" train --help
"$mumoe" help train >page
cmp -s page stdout || wrong "two ranks: not the help of one: $(wc -l <stdout) lines"
grep -q 'launch/mpirun -n RANKS mumoe train' page || wrong "help train: no launch/mpirun: $(head -n 3 page)"

# What is linked is used: MPI's C++ interface is not, and need not be there.
if readelf -d "$mumoe" | grep -E 'mpi_?cxx|mpichcxx'; then wrong "it is linked with MPI's C++ interface"; fi

# No line is longer than the terminal is wide: as COLUMNS says, as the terminal does, else 80.
longest() { LC_ALL=C.UTF-8 awk '{ if (length($0) > n) n = length($0) } END { print n }' "$1"; }
cat >in_terminal.py <<'PYTHON'
# in_terminal.py COLUMNS COMMAND...: what the command shows in a terminal so wide.
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
try:
    while piece := os.read(terminal, 65536):
        shown += piece
except OSError:
    pass
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
for page in "" train sample eval data convert inspect plan simulate scale predict-check bench report; do
  COLUMNS=40 "$mumoe" help $page >narrow
  (($(longest narrow) <= 40)) || wrong "COLUMNS=40 help $page: a line of $(longest narrow)"
done
for columns in 60 80; do
  COLUMNS=$columns "$mumoe" help train >narrow
  (($(longest narrow) <= columns)) || wrong "COLUMNS=$columns help train: a line of $(longest narrow)"
  python3 in_terminal.py $columns "$mumoe" help train >shown || wrong "help train in a terminal: $?"
  cmp -s narrow shown || wrong "help train: other lines in a terminal of $columns than with COLUMNS"
done
COLUMNS=nonsense "$mumoe" help train >shown
cmp -s page shown || wrong "COLUMNS=nonsense: not 80"
cmp -s page narrow || wrong "neither COLUMNS nor a terminal: not 80"

# What stands twice is refused, in a file and on the command line.
printf '[model]\nwidth = 8\n[model]\nwidth = 16\n' >twice.cfg
refused "twice in a file" "twice.cfg:4: model.width stands in line 2 already" "$mumoe" train --config twice.cfg
refused "twice on the command line" "--model.width stands there more than once" \
  "$mumoe" train --config tiny.cfg --model.width 8 --model.width=8
refused "two files" "--config stands there more than once" "$mumoe" train --config tiny.cfg --config tiny.cfg
refused "a word alone" "depth=3: a word without its --key" "$mumoe" train --config tiny.cfg depth=3
refused "a key of another subcommand" "unknown key model.depth; it is one of mumoe train" "$mumoe" data --model.depth 3
sed s/context/block_size/ tiny.cfg >other.cfg
refused "another program's word" "other.cfg:5: unknown key model.block_size; did you mean model.context?" \
  "$mumoe" train --config other.cfg
(cat tiny.cfg; echo micro_batch = 3) >pinned.cfg
refused "what a file pins" "train.micro_batch = 3: " "$mumoe" train --config pinned.cfg
grep -q 'train.micro_batch stands in .*, --train.micro_batch auto follows the others' stderr || wrong "pinned: $(<stderr)"

# The start says what does not fit; a run that fits has no note. A longer run keeps its schedule, and says so.
quiet "$mumoe" train --config tiny.cfg --train.out run --model.rank auto --schedule.warmup auto
if grep -q '^note ' stdout; then wrong "a note for what fits: $(grep '^note ' stdout)"; fi
quiet "$mumoe" train --config tiny.cfg --train.out run --model.rank auto --schedule.warmup auto --train.steps 6 --train.resume
grep -q '^         schedule.steps auto: 4, as the checkpoint has it$' stdout || wrong "resumed: $(<stdout)"
grep -q '^note     schedule.steps = 4 of train.steps = 6: the last 2 steps have the lowest learning rate' stdout ||
  wrong "resumed: $(<stdout)"
[[ $(wc -l <run/metrics.jsonl) == 6 ]] || wrong "resumed: $(wc -l <run/metrics.jsonl) steps, expected 6"
refused "another schedule" "schedule.steps is 9, but the run in run/checkpoints/step_00000006 has 4; give the same value or auto" \
  "$mumoe" train --config tiny.cfg --train.out run --model.rank auto --train.steps 9 --schedule.steps 9 --train.resume
quiet "$mumoe" train --config tiny.cfg --model.mlp tr --model.rank 40 --model.gate_top_k 2
grep -q '^note     model.rank = 4,4,40: [0-9]* parameters a block, [0-9.]* times the [0-9]* of a dense MLP; --model.rank auto' stdout ||
  wrong "rank: $(<stdout)"
grep -q '^note     model.gate_top_k: without effect, since model.gate is not top_k$' stdout || wrong "idle: $(<stdout)"

end
