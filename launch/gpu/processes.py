"""Programs that are given a limit, and end with all that they have started."""

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import time


class Failed(Exception):
    """A program ended otherwise than it should; one line."""


def session_of(pid: str) -> int:
    """The session of a process; -1 where it is gone."""
    try:
        # After the name, which may hold anything: state, parent, group, session.
        return int(pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return -1


def end_session(session: int) -> None:
    """Kills all processes of it, whatever groups they are in."""
    for _ in range(100):  # more may be born meanwhile
        left = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and session_of(pid) == session]
        left = [pid for pid in left if pid != os.getpid() and not is_zombie(pid)]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def is_zombie(pid: int) -> bool:
    try:
        return pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True


def end_group(program: subprocess.Popen) -> None:
    """Kills it and its children, which are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def start(
    command: list[str], environment: dict[str, str], folder: pathlib.Path | None = None, **pipes
) -> subprocess.Popen:
    """In a group of its own, within the session of its stage."""
    return subprocess.Popen(command, env=environment, cwd=folder, text=True, preexec_fn=os.setpgrp, **pipes)


def last_line(*texts: str) -> str:
    for text in texts:
        if lines := text.strip().splitlines():
            return lines[-1]
    return "it said nothing"


def call(
    command: list[str],
    environment: dict[str, str],
    end: float,
    folder: pathlib.Path | None = None,
    well: tuple[int, ...] = (0,),
) -> str:
    """What the command says. Throws `Failed` when its exit code is none of `well`, or it has not ended by `end`."""
    left = end - time.monotonic()
    words = itertools.takewhile(lambda word: not word.startswith("-"), command[1:3])
    short = " ".join([pathlib.Path(command[0]).name, *words])
    if left <= 0:
        raise Failed(f"{short}: no time was left")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = start(command, environment, folder, **pipes)
    try:
        out, errors = program.communicate(timeout=left)
    except subprocess.TimeoutExpired:
        raise Failed(f"{short}: not finished after {left:.0f} s") from None
    finally:
        end_group(program)
    if program.returncode not in well:
        raise Failed(f"{short}: {code_of(program.returncode)}: {last_line(errors, out)}")
    return out


def code_of(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
