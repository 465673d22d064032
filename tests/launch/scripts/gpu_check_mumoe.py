#!/usr/bin/env python3
"""A stand-in for the program, for launch/gpu_check. On the GPU its losses and gradients are off by a part of them that
OFF_fp64, OFF_fp32 and OFF_bf16 give; it holds HELD MiB of the 100 that its start table says."""

import json
import os
import pathlib
import struct
import sys

ASKED = dict(zip(sys.argv[2::2], sys.argv[3::2]))
DEVICE = ASKED.get("--train.device", "cuda")
PRECISION = ASKED.get("--train.precision", "bf16")
ERROR = {"fp64": 0, "fp32": 1e-7, "bf16": 1e-2}[PRECISION]
OFF = float(os.environ.get(f"OFF_{PRECISION}", "0")) if DEVICE == "cuda" else 0


def line(step: int) -> str:
    found = {
        "step": step,
        "loss": (10 - 0.1 * step) * (1 + ERROR + OFF),
        "tokens_per_s": 1000,
        "step_ms": 5,
        "mfu": 0.5,
        "sol": 0.6,
    }
    return json.dumps(found | {"gpu_peak_mib": float(os.environ.get("HELD", "100"))}) + "\n"


def train(out: pathlib.Path) -> None:
    if ASKED.get("--train.micro_batch") == os.environ.get("TOO_LARGE", "none"):
        sys.exit("mumoe: CUDA out of memory")
    print(f"compute  {PRECISION} on {DEVICE}:0\nmemory   about 100.0 MiB a rank on its GPU: weights 1 MiB")
    if os.environ.get("MUMOE_KERNEL_TIMES"):
        lines = ('{"kernel":"gate","calls":4,"ms":1.0}', '{"kernel":"product","calls":8,"ms":3.0}')
        pathlib.Path(os.environ["MUMOE_KERNEL_TIMES"]).write_text("\n".join(lines))
    if str(out) == "none":
        return
    last = int(ASKED["--train.steps"])
    folder = out / "checkpoints" / "step_00000001"
    folder.mkdir(parents=True, exist_ok=True)
    with (out / "metrics.jsonl").open("a") as metrics:
        first = 5 if "--train.resume" in sys.argv else 1
        metrics.writelines(line(step) for step in range(first, last + 1))
    values = struct.pack("<4f", *(k * (1 + ERROR + OFF) for k in (1, 2, 3, 4)))
    header = json.dumps({"adam_m.w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    head = struct.pack("<Q", len(header)) + header
    (folder / "rank_00000.safetensors").write_bytes(head + values)
    piece = {"file": 0, "offset": len(head), "begin": [0], "extent": [4], "first": 0, "count": 4}
    tensors = {"adam_m.w": {"dtype": "F32", "shape": [4], "pieces": [piece]}}
    manifest = {"files": [{"name": "rank_00000.safetensors"}], "tensors": tensors}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if "--train.micro_batch" not in ASKED:
        return
    shape = {"context": 32, "depth": 1, "heads": 2, "width": 32, "experts": 8, "rank": 5}
    lines = [
        "[model]",
        *(f"{name} = {value}" for name, value in shape.items()),
        "[train]",
        f"micro_batch = {ASKED['--train.micro_batch']}",
    ]
    (out / "config.cfg").write_text("\n".join(lines) + "\n")


if sys.argv[1] == "train":
    train(pathlib.Path(ASKED["--train.out"]))
elif sys.argv[1:] == ["bench", "kernels", "--json"]:
    for name, gb_s, tflop_s in (("gate", 1500, 1), ("product", 200, 400)):
        print(
            json.dumps(
                {"kernel": name, "ms": 1, "gb": gb_s / 1000, "tflop": tflop_s / 1000, "gb_s": gb_s, "tflop_s": tflop_s}
            )
        )
