"""What is asked of a GPU. A stage returns what it has found: {"ok": ..., "summary": ..., ...}."""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import probe
from place import Place

TINY = """[model]
depth = 2
heads = 2
width = 64
context = 64
experts = 16
rank = 20
[train]
batch = 8
micro_batch = 4
eval_windows = 4
eval_every = 0
[schedule]
warmup = 2
"""


@dataclass
class Stage:
    limit: float  # seconds
    run: Callable[[Place, float], dict]


class Failed(Exception):
    """A program ended otherwise than it should; one line."""


def call(place: Place, command: list[str], end: float, folder: pathlib.Path | None = None) -> str:
    left = max(1.0, end - time.monotonic())
    try:
        done = subprocess.run(
            command, env=place.environment, cwd=folder, timeout=left, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command[:3])}: not finished after {left:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"{' '.join(command[:3])}: exit code {done.returncode}: {said[-1] if said else 'it said nothing'}")
    return done.stdout


def tests(place: Place, end: float) -> dict:
    """Every GPU test; where the toolkit has it, kernels once more under compute-sanitizer."""
    found, well = [], True
    with tempfile.TemporaryDirectory() as folder:
        for program in place.tests:
            report = pathlib.Path(folder) / "report.json"
            report.unlink(missing_ok=True)
            begin = time.monotonic()
            entry: dict = {"name": program.name}
            try:
                call(place, [str(program), f"--gtest_output=json:{report}"], end)
            except Failed as failed:
                entry["error"] = str(failed)
                well = False
            if report.exists():
                sums = json.loads(report.read_text())
                entry |= {"tests": sums["tests"], "failures": sums["failures"]}
            entry["seconds"] = round(time.monotonic() - begin, 1)
            found.append(entry)
    failures = sum(1 for entry in found if "error" in entry)
    return {"ok": well and bool(found), "summary": f"{len(found)} programs, {failures} not well", "programs": found}


def metrics(run: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def exact(place: Place, end: float) -> dict:
    """The program on the GPU against the CPU, twice for equal bits, and a run that changes its device."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "tiny.cfg").write_text(TINY)

        def train(out: str, *options: str) -> list[float]:
            call(place, [str(place.program), "train", "--config", "tiny.cfg", "--data.source", str(place.data),
                         "--train.out", out, *options], end, folder)
            return [entry["loss"] for entry in metrics(folder / out)]

        def worst(a: list[float], b: list[float]) -> float:
            return max(abs(x / y - 1) for x, y in zip(a, b, strict=True))

        found: dict = {}
        for precision, bound in (("fp64", 1e-10), ("fp32", 1e-5)):
            shared = ("--train.precision", precision, "--train.steps", "4")
            cpu = train(f"cpu_{precision}", *shared, "--train.device", "cpu")
            gpu = train(f"gpu_{precision}", *shared, "--train.device", "cuda")
            found[precision] = {"worst": worst(gpu, cpu), "bound": bound}
        bf16 = ("--train.precision", "bf16", "--train.steps", "4", "--train.device", "cuda")
        found["same_bits"] = train("first", *bf16) == train("second", *bf16)
        # On the CPU, and half of it on the GPU.
        shared = ("--train.precision", "fp64", "--train.steps", "8", "--train.resume")
        shutil.copytree(folder / "gpu_fp64", folder / "there")
        there = train("there", *shared, "--train.device", "cpu")
        whole = train("cpu_fp64", *shared, "--train.device", "cpu")
        back = train("gpu_fp64", *shared, "--train.device", "cuda")
        found["resumed"] = {"worst": max(worst(there, whole), worst(back, whole)), "bound": 1e-10}
    well = found["same_bits"] and all(
        entry["worst"] <= entry["bound"] for entry in found.values() if isinstance(entry, dict)
    )
    return {"ok": well, "summary": f"fp64 to {found['fp64']['worst']:.1e}, equal bits: {found['same_bits']}", **found}


def nccl(place: Place, end: float) -> dict:
    """NCCL's own version and, with one rank, a communicator's calls: a test of the program's that needs no launcher."""
    programs = [p for p in place.tests if p.name.startswith("test_nccl")]
    if not programs:
        return {"ok": False, "error": "no test of NCCL is here"}
    for program in programs:
        call(place, [str(program)], end)
    return {"ok": True, "summary": f"{len(programs)} programs"}


def timed_run(place: Place, options: list[str], steps: int, end: float) -> dict:
    """124M for `steps` steps; medians without the first three."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "run"
        said = call(place, [str(place.program), "train", "--config", str(place.config), "--data.source", str(place.data),
                            "--train.out", str(out), "--train.steps", str(steps), "--train.eval_windows", "1",
                            "--checkpoint.every", "0", *options], end)
        lines = metrics(out)[3:]
    about = re.search(r"^memory\s+about ([0-9.]+ \S+)", said, re.M)
    return {
        "options": options,
        "tokens_per_s": statistics.median(line["tokens_per_s"] for line in lines),
        "mfu": statistics.median(line.get("mfu", 0) for line in lines),
        "step_ms": statistics.median(line["step_ms"] for line in lines),
        "gpu_peak_mib": max(line.get("gpu_peak_mib", 0) for line in lines),
        "said_memory": about.group(1) if about else None,
    }


def train(place: Place, end: float) -> dict:
    """124M: micro-batches, mixing, determinism; best first in the summary."""
    cases = [["--train.batch", str(micro), "--train.micro_batch", str(micro)] for micro in (16, 32, 8)]
    cases += [[*cases[0], "--train.mixing", mixing] for mixing in ("dense", "sparse")]
    cases += [[*cases[0], "--train.deterministic", "no"]]
    runs, errors = [], []
    for options in cases:
        if end - time.monotonic() < 15:
            errors.append(f"no time for {' '.join(options)}")
            continue
        try:
            runs.append(timed_run(place, options, 13, min(end, time.monotonic() + 60)))
        except Failed as failed:
            errors.append(str(failed))
    best = max(runs, key=lambda run: run["tokens_per_s"], default=None)
    summary = f"{best['tokens_per_s']:.0f} tokens/s, mfu {best['mfu']:.1%}, {' '.join(best['options'])}" if best else "no run"
    return {"ok": bool(runs), "summary": summary, "runs": runs, "errors": errors}


def memory(place: Place, end: float) -> dict:
    """What the start table says against what the allocator held."""
    runs = [timed_run(place, ["--train.batch", str(m), "--train.micro_batch", str(m)], 5, end) for m in (1, 4)]
    return {"ok": True, "summary": ", ".join(f"{r['said_memory']} said, {r['gpu_peak_mib']:.0f} MiB held" for r in runs),
            "runs": runs}


def profile(place: Place, end: float) -> dict:
    """Time by kernel, by nsys where it is installed."""
    nsys = shutil.which("nsys")
    if nsys is None:
        return {"ok": True, "summary": "nsys is not installed: no profile"}
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "profile"
        call(place, [nsys, "profile", "-t", "cuda", "-o", str(report), str(place.program), "train", "--config",
                     str(place.config), "--data.source", str(place.data), "--train.out", "none", "--train.steps", "4",
                     "--train.batch", "16", "--train.micro_batch", "16", "--train.eval_windows", "1"], end)
        table = call(place, [nsys, "stats", "-r", "cuda_gpu_kern_sum", "--format", "csv", str(report) + ".nsys-rep"], end)
    return {"ok": True, "summary": "by nsys", "kernels": table.splitlines()[:60]}


ALL = {
    "probe": Stage(60, probe.run),
    "tests": Stage(180, tests),
    "exact": Stage(60, exact),
    "nccl": Stage(30, nccl),
    "train": Stage(180, train),
    "memory": Stage(60, memory),
    "profile": Stage(60, profile),
}
