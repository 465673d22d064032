"""Runs of the program, and what they leave."""

import array
import json
import pathlib
import struct
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


def tensors(run: pathlib.Path, step: int, prefix: str) -> dict[str, array.array]:
    """Values of a checkpoint's tensors whose names begin so, by the rest of the name."""
    file = run / "checkpoints" / f"step_{step:08}" / "state.safetensors"
    data = file.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    found = {}
    for name, about in json.loads(data[8 : 8 + size]).items():
        if name.startswith(prefix):
            begin, end = about["data_offsets"]
            values = array.array({"F32": "f", "F64": "d"}[about["dtype"]])
            values.frombytes(data[8 + size + begin : 8 + size + end])
            found[name.removeprefix(prefix)] = values
    return found
