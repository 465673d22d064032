#!/usr/bin/env python3
"""terminal.py MUMOE MPIRUN RUN: what a terminal does to training runs.

Each case starts a run by an interactive shell on a terminal of its own, in a
folder of its own below the current one, which holds tiny.cfg and tokens/; then
it presses Ctrl-Z or Ctrl-C, or closes the terminal. Prints a line a case.
"""

import concurrent.futures
import os
import pathlib
import pty
import select
import shlex
import signal
import subprocess
import sys
import threading
import time

MUMOE, MPIRUN, RUN = (os.path.abspath(path) for path in sys.argv[1:4])
TOP = pathlib.Path.cwd()
CTRL_C, CTRL_D, CTRL_Z = b"\x03", b"\x04", b"\x1a"
LONG, SHORT = "1000000", "300"  # steps that no case waits for, and that some do
TWO_RANKS = [MPIRUN, "-n", "2", MUMOE, "train"]


class Failure(Exception):
    """What was expected."""


class Terminal:
    """A terminal with an interactive shell, and the run that it starts."""

    def __init__(self, name, **environment):
        self.folder = TOP / name
        self.folder.mkdir()
        self.master, slave = pty.openpty()
        self.shell = subprocess.Popen(["setsid", "--ctty", "bash", "--norc", "-i"], stdin=slave, stdout=slave,
                                      stderr=slave, cwd=self.folder, env={**os.environ, **environment})
        os.close(slave)
        self.output = b""
        self.closing = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        while not self.closing.is_set():
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:  # no process has it open any more
                    break
        os.close(self.master)

    def press(self, keys):
        os.write(self.master, keys)

    def close(self):
        self.closing.set()
        self.reader.join()

    def train(self, start, steps, tail="", first_step=True):
        """`start`: the command up to the options of training. The shell that
        runs it outlives the terminal, to leave the exit code: an interactive
        shell that sees the end of its input before the hang-up ends stopped
        jobs by SIGTERM."""
        options = ["--config", TOP / "tiny.cfg", "--data.source", TOP / "tokens", "--train.out", self.folder / "run",
                   "--train.steps", steps, "--schedule.steps", steps]
        command = shlex.join(map(str, [*start, *options])) + tail
        (self.folder / "job").write_text(
            f"trap : HUP INT TERM\n{command}\necho ${{PIPESTATUS[0]}} >code.new\nmv code.new code\n")
        self.press(b"bash job\n")
        if first_step:
            self.wait(lambda: self.steps() > 0, "a first step")

    def steps(self):
        file = self.folder / "run/metrics.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def log(self):
        return (self.folder / "run/log.txt").read_text().splitlines()

    def taken(self):
        """How many ranks have taken SIGINT."""
        count = 0
        for pid in self.processes(MUMOE):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
            count += caught >> (signal.SIGINT - 1) & 1
        return count

    def ranks(self, start):
        return 2 if start == TWO_RANKS else 1

    def saved(self):
        """The step of the newest checkpoint."""
        return max((int(path.name[5:]) for path in self.folder.glob("run/checkpoints/step_????????")), default=0)

    def processes(self, program=None):
        """Process numbers and states of what works on this run: of all, or of
        those that run `program`."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(self.folder).encode() + b"/" not in (entry / "cmdline").read_bytes():
                    continue
                if program is None or os.path.realpath(entry / "exe") == os.path.realpath(program):
                    found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:  # it has ended
                continue
        return found

    def wait(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failure(f"no {what} in {seconds} s")
            time.sleep(0.05)

    def expect(self, condition, what):
        if not condition:
            raise Failure(what)

    def ends(self, code, all_saved=True):
        """The run ends with `code`, no process of it lives on, and its
        checkpoint has all its steps."""
        self.wait((self.folder / "code").exists, "end")
        got = int((self.folder / "code").read_text())
        self.expect(got == code, f"exit code {got}, expected {code}")
        self.expect(self.saved() == self.steps(), f"{self.steps()} steps, and {self.saved()} are saved")
        self.wait(lambda: not self.processes(), "end of all processes", 10)

    def clean(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.close()
        self.shell.kill()
        self.shell.wait()


def closed(terminal, start):
    """All that was trained is saved when the terminal is closed."""
    terminal.train(start, LONG)
    terminal.close()
    terminal.ends(3)


def closed_under_nohup(terminal, start):
    """Goes on to its last step."""
    terminal.train(["nohup", *start], SHORT, " >nohup.out 2>&1")
    terminal.close()
    terminal.ends(0)
    terminal.expect(terminal.steps() == int(SHORT), f"{terminal.steps()} steps, expected {SHORT}")


def stopped(terminal, start, then="fg"):
    """Ctrl-Z stops the ranks for longer than their deadline (tiny.cfg: 3 s),
    fg lets them go on; where the terminal is closed then, or its shell left,
    all that was trained is saved."""
    terminal.train(start, LONG)
    terminal.press(CTRL_Z)
    terminal.wait(lambda: set(terminal.processes(MUMOE).values()) == {"T"}, "stopped ranks", 20)
    terminal.expect(len(terminal.processes(MUMOE)) == 2, "two ranks")
    before = terminal.steps()
    time.sleep(5)
    terminal.expect(terminal.steps() == before, "no step while stopped")
    if then == "close":
        terminal.close()
    elif then == "leave":
        terminal.press(CTRL_D)
        terminal.wait(lambda: b"stopped jobs" in terminal.output, "warning of stopped jobs", 10)
        terminal.press(CTRL_D)
    else:
        terminal.press(b"fg\n")
        terminal.wait(lambda: terminal.steps() > before + 1, "step after fg")
        terminal.press(CTRL_C)
    terminal.ends(3)


def unread(terminal, start):
    """Output that nobody reads any more ends nothing, and is in log.txt."""
    terminal.train([*start, "--log.every", "1"], SHORT, " | head -n 1")
    terminal.ends(0)
    terminal.expect(terminal.steps() == int(SHORT), f"{terminal.steps()} steps, expected {SHORT}")
    terminal.expect(terminal.log()[-1].startswith(f"done: {SHORT} steps"), f"log.txt ends {terminal.log()[-1]}")


def teed(terminal, start):
    """Ctrl-C ends tee as well: what is said last is in log.txt."""
    terminal.train(start, LONG, " | tee copy")
    terminal.press(CTRL_C)
    terminal.ends(3)
    terminal.expect(terminal.log()[-1].startswith("stopped by a signal after step"), f"log.txt ends {terminal.log()[-1]}")


def live(terminal, start):
    """The live line stays on the terminal; Ctrl-C saves."""
    terminal.train([*start, "--log.every", "1000000"], LONG)
    terminal.wait(lambda: b"\r\x1b[Kstep 2/" in terminal.output, "live line")
    terminal.press(CTRL_C)
    terminal.ends(3)
    terminal.wait(lambda: b"\nstopped by a signal after step" in terminal.output, "last line")
    terminal.expect("\r" not in "".join(terminal.log()), "no carriage returns in log.txt")
    terminal.expect("step 2/" not in "\n".join(terminal.log()), "no live line in log.txt")


def pressed_at_once(terminal, start):
    """Before the first step nothing is written, and the code is the same."""
    terminal.train(start, LONG, first_step=False)
    terminal.wait(lambda: terminal.taken() == terminal.ranks(start), "signals taken")
    terminal.press(CTRL_C)
    terminal.ends(3)
    terminal.wait(lambda: b"stopped by a signal before the first step" in terminal.output, "line")
    terminal.expect(not (terminal.folder / "run").exists(), "nothing was written")


CASES = {
    "closed": lambda t: closed(t, [MUMOE, "train"]),
    "closed, two ranks": lambda t: closed(t, TWO_RANKS),
    "closed, launch-run": lambda t: closed(t, [RUN, "--no-sample"]),
    "closed, nohup": lambda t: closed_under_nohup(t, [MUMOE, "train"]),
    "closed, nohup, two ranks": lambda t: closed_under_nohup(t, TWO_RANKS),
    "stopped, two ranks": lambda t: stopped(t, TWO_RANKS),
    "stopped, launch-run": lambda t: stopped(t, [RUN, "--no-sample"]),
    "stopped, closed": lambda t: stopped(t, TWO_RANKS, "close"),
    "stopped, left": lambda t: stopped(t, TWO_RANKS, "leave"),
    "unread": lambda t: unread(t, [MUMOE, "train"]),
    "unread, two ranks": lambda t: unread(t, TWO_RANKS),
    "tee": lambda t: teed(t, [MUMOE, "train"]),
    "tee, two ranks": lambda t: teed(t, TWO_RANKS),
    "live": lambda t: live(t, [MUMOE, "train"]),
    "live, two ranks": lambda t: live(t, TWO_RANKS),
    "at once": lambda t: pressed_at_once(t, [MUMOE, "train"]),
    "at once, two ranks": lambda t: pressed_at_once(t, TWO_RANKS),
}


def run(name):
    terminal = Terminal(name)
    try:
        CASES[name](terminal)
        return f"{name}: passed"
    except (Failure, OSError) as failure:
        said = terminal.output.decode(errors="replace")[-2000:]
        return f"FAILED: {name}: {failure}; processes {terminal.processes()}; terminal:\n{said}"
    finally:
        terminal.clean()


def main():
    # Two at a time: most of it is waiting.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, CASES))
    print("\n".join(results))
    sys.exit(any(result.startswith("FAILED") for result in results))


main()
