"""The program on a GPU against the CPU: the same numbers, as far as the arithmetic lets them be."""

import array
import math
import pathlib
import shutil
import tempfile

import programs
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
steps = 8
"""
# Largest relative differences from the CPU: of losses.
BOUNDS = {"fp64": 1e-10, "fp32": 1e-5}
SAVE_ALL = ("--checkpoint.every", "1", "--checkpoint.keep", "8")
BF16_BOUND = 1.5  # times the CPU's own error, of gradients


def worst(losses: list[float], expected: list[float]) -> float:
    return max(abs(x / y - 1) for x, y in zip(losses, expected, strict=True))


def distance(found: array.array, expected: array.array) -> float:
    """|found - expected| / |expected|."""
    difference = math.fsum((x - y) ** 2 for x, y in zip(found, expected, strict=True))
    norm = math.fsum(y * y for y in expected)
    return math.sqrt(difference / norm) if norm else math.sqrt(difference)


class Runs:
    """Runs of the tiny model in a folder."""

    def __init__(self, place: Place, folder: pathlib.Path, end: float) -> None:
        self.place, self.folder, self.end = place, folder, end
        self.config = folder / "tiny.cfg"
        self.config.write_text(TINY)

    def losses(self, out: str, device: str, precision: str, steps: int, *options: str) -> list[float]:
        shared = ["--train.device", device, "--train.precision", precision, "--train.steps", str(steps)]
        programs.train(self.place, self.config, self.folder / out, self.end, *shared, *options)
        return [line["loss"] for line in programs.metrics(self.folder / out)]

    def gradients(self, out: str) -> dict[str, array.array]:
        """Of a run's first step: what the first moments of AdamW hold after it, but for a factor."""
        return programs.tensors(self.folder / out, 1, "adam_m.")


def bf16_errors(runs: Runs) -> dict:
    """Errors of bf16 gradients against fp64 ones of the same start, on both devices: root mean square over tensors."""
    exact = runs.gradients("cpu_fp64")
    found: dict = {"bound": BF16_BOUND}
    for device in ("cpu", "cuda"):
        of = runs.gradients(f"{device}_bf16")
        errors = [distance(of[name], expected) for name, expected in exact.items()]
        found[device] = math.sqrt(math.fsum(error * error for error in errors) / len(errors))
    found["worst"] = found["cuda"] / found["cpu"]
    return found


def resumed(runs: Runs) -> dict:
    """Runs of four steps that go on on the other kind of device, against one that stays."""
    for device, name in (("cuda", "to_cpu"), ("cpu", "to_cuda")):
        shutil.copytree(runs.folder / f"{device}_fp64", runs.folder / name)
    whole = runs.losses("cpu_fp64", "cpu", "fp64", 8, "--train.resume")
    moved = [runs.losses(f"to_{device}", device, "fp64", 8, "--train.resume") for device in ("cpu", "cuda")]
    return {"worst": max(worst(losses, whole) for losses in moved), "bound": BOUNDS["fp64"]}


def run(place: Place, end: float) -> dict:
    """Four steps of each precision, twice for equal bits, and runs that change their device."""
    with tempfile.TemporaryDirectory() as name:
        runs = Runs(place, pathlib.Path(name), end)
        losses = {
            (device, precision): runs.losses(f"{device}_{precision}", device, precision, 4, *SAVE_ALL)
            for precision in (*BOUNDS, "bf16")
            for device in ("cpu", "cuda")
        }
        found: dict = {
            precision: {"worst": worst(losses["cuda", precision], losses["cpu", precision]), "bound": bound}
            for precision, bound in BOUNDS.items()
        }
        found["bf16_gradients"] = bf16_errors(runs)
        found["same_bits"] = runs.losses("again", "cuda", "bf16", 4) == losses["cuda", "bf16"]
        found["resumed"] = resumed(runs)
    checks = [entry for entry in found.values() if isinstance(entry, dict)]
    summary = ", ".join(f"{name} {entry['worst']:.2g}" for name, entry in found.items() if isinstance(entry, dict))
    return {
        "ok": found["same_bits"] and all(entry["worst"] <= entry["bound"] for entry in checks),
        "summary": f"{summary}, {'equal' if found['same_bits'] else 'UNEQUAL'} bits",
        **found,
    }
