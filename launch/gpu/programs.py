"""Runs of the program, and what they leave."""

import array
import json
import math
import pathlib
import time

from place import Place
from processes import Failed, call

__all__ = ["Failed", "left", "metrics", "tensors", "train"]


def left(end: float) -> float:
    return end - time.monotonic()


def train(place: Place, config: pathlib.Path, out: pathlib.Path, end: float, *options: str) -> str:
    """What `mumoe train` says; the run is in `out`."""
    command = [str(place.program), "train", "--config", str(config), "--data.source", str(place.data)]
    command += ["--data.tokenizer", place.tokenizer, "--train.out", str(out), *options]
    return call(command, place.environment, end)


def metrics(run: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def rows(shape: list[int], begin: list[int], extent: list[int]) -> list[tuple[int, int]]:
    """Where the rows of a part of a tensor begin in the whole, and how long they are; in order."""
    if not shape:
        return [(0, 1)]
    starts, stride = [0], math.prod(shape)
    for size, first, count in zip(shape[:-1], begin, extent):
        stride //= size
        starts = [start + (first + i) * stride for start in starts for i in range(count)]
    return [(start + begin[-1], extent[-1]) for start in starts]


def tensors(run: pathlib.Path, step: int, prefix: str) -> dict[str, array.array]:
    """Values of a checkpoint's tensors, whole, whose names begin so, by the rest of the name."""
    folder = run / "checkpoints" / f"step_{step:08}"
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {}
    for name, about in manifest["tensors"].items():
        if not name.startswith(prefix):
            continue
        kind = {"F32": "f", "F64": "d"}[about["dtype"]]
        whole = array.array(kind, bytes(math.prod(about["shape"]) * array.array(kind).itemsize))
        for piece in about["pieces"]:
            values = array.array(kind)
            with (folder / manifest["files"][piece["file"]]["name"]).open("rb") as file:
                file.seek(piece["offset"])
                values.frombytes(file.read(piece["count"] * values.itemsize))
            place = -piece["first"]  # in `values`, of the row
            for start, length in rows(about["shape"], piece["begin"], piece["extent"]):
                low, high = max(place, 0), min(place + length, len(values))
                if low < high:
                    whole[start + low - place : start + high - place] = values[low:high]
                place += length
        found[name.removeprefix(prefix)] = whole
    return found
