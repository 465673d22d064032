"""What training costs: tokens a second beside the PyTorch twin, memory, time by kernel."""

import dataclasses
import json
import os
import pathlib
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

import processes
import programs
from place import Place
from processes import Failed

STEPS, WARM = 13, 3  # of a run, and those at its start that do not count
ROWS = 64  # of the token embedding: a multiple of it
UNITS = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}
# How far the start table may be from what tensors held: a part, and MiB.
MEMORY_PART, MEMORY_MIB = 0.1, 64


def batch(micro: int) -> list[str]:
    """One micro-batch a step."""
    return ["--train.batch", str(micro), "--train.micro_batch", str(micro)]


def mib(text: str) -> float:
    number, unit = text.split()
    return float(number) * UNITS[unit]


def settings_of(run: pathlib.Path) -> dict[str, str]:
    """ "section.key" of the config.cfg that a run has written, all settled."""
    section, found = "", {}
    for line in (run / "config.cfg").read_text().splitlines():
        if heading := re.match(r"\[(\w+)\]", line):
            section = heading[1]
        elif entry := re.match(r"(\w+) = (.*)", line):
            found[f"{section}.{entry[1]}"] = entry[2]
    return found


def timed_run(place: Place, options: list[str], steps: int, end: float) -> dict:
    """Medians of a run on the GPU, without its first steps."""
    fixed = [
        "--train.device",
        "cuda",
        "--train.steps",
        str(steps),
        "--train.eval_windows",
        "1",
        "--train.eval_every",
        "0",
        "--checkpoint.every",
        "0",
        "--log.every",
        "1000",
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        said = programs.train(place, place.config, run, end, *fixed, *options)
        lines = programs.metrics(run)[WARM:]
        settings = settings_of(run)
    about = re.search(r"^memory\s+about ([0-9.]+ \w+)", said, re.M)
    precision = re.search(r"^compute\s+(\w+) on", said, re.M)
    return {
        "options": options,
        "precision": precision[1] if precision else None,
        "tokens_per_s": statistics.median(line["tokens_per_s"] for line in lines),
        "mfu": statistics.median(line.get("mfu", 0) for line in lines),
        "sol": statistics.median(line.get("sol", 0) for line in lines),
        "step_ms": statistics.median(line["step_ms"] for line in lines),
        "gpu_peak_mib": max(line.get("gpu_peak_mib", 0) for line in lines),
        "said_mib": mib(about[1]) if about else None,
        "settings": settings,
    }


class Twin:
    """tests/reference/time_twin.py, which answers each line with what some steps took."""

    def __init__(self, place: Place, arguments: list[str]) -> None:
        command = [sys.executable, str(place.twin / "time_twin.py"), *arguments]
        self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads could fill up
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        # Not the program's environment, whose libraries Python has of its own.
        self.program = processes.start(command, dict(os.environ), **pipes)

    def __enter__(self) -> "Twin":
        return self

    def __exit__(self, *_: object) -> None:
        processes.end_group(self.program)
        self.errors.close()

    def ask(self, steps: int, end: float) -> dict:
        try:
            self.program.stdin.write(f"{steps}\n")
            self.program.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: what it said is read below
        if not select.select([self.program.stdout], [], [], max(0.0, programs.left(end)))[0]:
            raise Failed("time_twin.py: no answer in its time")
        answer = self.program.stdout.readline()
        if not answer:
            self.program.wait()
            self.errors.seek(0)
            raise Failed(f"time_twin.py: {processes.last_line(self.errors.read())}")
        return json.loads(answer)


def twin_arguments(place: Place, run: dict) -> list[str]:
    """The shape of a run of the program's, for the twin."""
    vocabulary = json.loads((place.data / "dataset.json").read_text())["vocabulary"]
    settings = run["settings"]
    names = ("context", "depth", "heads", "width", "experts", "rank")
    arguments = [word for name in names for word in (f"--{name}", settings[f"model.{name}"])]
    arguments += ["--vocab", str(-(-vocabulary // ROWS) * ROWS)]
    return [
        *arguments,
        "--micro_batch",
        settings["train.micro_batch"],
        "--precision",
        run["precision"],
        "--device",
        "cuda",
    ]


def in_turn(place: Place, options: list[str], first: dict, end: float) -> dict:
    """Ours, the twin, ours, the twin: medians and their ratio. `first` is ours once."""
    with Twin(place, twin_arguments(place, first)) as twin:
        twin.ask(WARM, end)  # it compiles
        ours, twins = [], []
        for _ in range(2):
            ours.append(timed_run(place, options, STEPS, end)["tokens_per_s"])
            twins.append(twin.ask(STEPS - WARM, end))
    of_twin = [answer["tokens_per_s"] for answer in twins]
    return {
        "options": options,
        "ours_tokens_per_s": ours,
        "twin_tokens_per_s": of_twin,
        "ratio": statistics.median(ours) / statistics.median(of_twin),
        "twin": twins[-1],
    }


def no_room(failed: Failed) -> bool:
    return "out of memory" in str(failed) or "mumoe: memory: " in str(failed)


def beside_twin(place: Place, first: dict, end: float, micros: tuple[int, ...] = (16, 4)) -> dict:
    """In turn, at the first micro-batch for which both have room. `first` is a run of ours that has been made."""
    options = batch(micros[0])
    try:
        run = first if first["options"] == options else timed_run(place, options, STEPS, end)
        return in_turn(place, options, run, end)
    except Failed as failed:
        if len(micros) == 1 or not no_room(failed):
            raise
        return beside_twin(place, first, end, micros[1:])


def cases() -> list[list[str]]:
    """Micro-batches, mixing, a rank that fills the products' tiles, determinism."""
    found = [batch(micro) for micro in (16, 32, 8)]
    found += [[*found[0], "--train.mixing", mixing] for mixing in ("dense", "sparse")]
    found += [[*found[0], *more] for more in (["--model.rank", "576"], ["--train.deterministic", "no"])]
    return found


def train(place: Place, end: float) -> dict:
    """One case first, beside the twin; then the other cases, for as long as there is time."""
    runs, errors, found = [], [], {}
    for options in cases():
        if programs.left(end) < 15:
            errors.append(f"no time for {' '.join(options)}")
            continue
        try:
            runs.append(timed_run(place, options, STEPS, min(end, time.monotonic() + 60)))
        except Failed as failed:
            # A GPU with less memory has no room for the larger ones.
            found.setdefault("no_room" if no_room(failed) else "failed", []).append(f"{failed}")
            continue
        if len(runs) == 1:
            try:
                found["beside_twin"] = beside_twin(place, runs[0], min(end, time.monotonic() + 110))
            except Failed as failed:
                errors.append(f"the twin was not compared: {failed}")
    errors += found.get("failed", [])
    for run in runs:
        del run["settings"]
    if not runs:
        return {"ok": False, "error": (errors or found["no_room"])[0], **found}
    best = max(runs, key=lambda run: run["tokens_per_s"])
    summary = f"{best['tokens_per_s']:.0f} tokens/s, mfu {best['mfu']:.1%}, sol {best['sol']:.1%}, {' '.join(best['options'])}"
    if "beside_twin" in found:
        summary += f"; {found['beside_twin']['ratio']:.2f} times the compiled twin"
    if errors:
        summary += f"; {errors[0]}"
    return {"ok": not errors, "summary": summary, "runs": runs, "errors": errors, **found}


def memory(place: Place, end: float) -> dict:
    """What the start table says against the most that tensors held, at two micro-batches."""
    found, well = [], True
    for micro in (1, 4):
        run = timed_run(place, batch(micro), WARM + 2, end)
        said, held = run["said_mib"], run["gpu_peak_mib"]
        near = said is not None and abs(said - held) <= MEMORY_PART * held + MEMORY_MIB
        found.append({"micro_batch": micro, "said_mib": said, "held_mib": held, "ok": near})
        well = well and near
    summary = ", ".join(
        f"micro-batch {f['micro_batch']}: {f['said_mib']} MiB said, {f['held_mib']:.0f} held" for f in found
    )
    return {"ok": well, "summary": summary, "bound": f"{MEMORY_PART:.0%} and {MEMORY_MIB} MiB", "runs": found}


def profile(place: Place, end: float) -> dict:
    """Time by kernel in four steps of one micro-batch, as CUPTI tells the library that CUDA loads into the program."""
    library = place.program.with_name("libmumoe_kernel_times.so")
    if not library.exists():
        return {"ok": False, "error": f"{library} is not there: no profile (expected where the build has CUPTI)"}
    with tempfile.TemporaryDirectory() as folder:
        times = pathlib.Path(folder) / "times"
        profiled = dataclasses.replace(
            place,
            environment={**place.environment, "CUDA_INJECTION64_PATH": str(library), "MUMOE_KERNEL_TIMES": str(times)},
        )
        fixed = ["--train.device", "cuda", "--train.steps", "4", "--train.eval_windows", "1", *batch(16)]
        programs.train(profiled, place.config, pathlib.Path("none"), end, *fixed)
        lines = times.read_text().splitlines() if times.exists() else []
    kernels = sorted(map(json.loads, lines), key=lambda kernel: -kernel["ms"])
    if not kernels:
        return {"ok": False, "error": "CUPTI has recorded no kernel (is profiling for administrators only here?)"}
    whole = sum(kernel["ms"] for kernel in kernels)
    first = ", ".join(f"{kernel['kernel'][:60]} {kernel['ms'] / whole:.0%}" for kernel in kernels[:3])
    return {
        "ok": True,
        "summary": f"{len(kernels)} kernels, {whole:.0f} ms; {first}",
        "ms": whole,
        "kernels": kernels[:80],
    }
