"""The machine: driver, libraries, copies and products as PyTorch makes them, the ceilings of what follows."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from place import Place
from processes import last_line

GIB = 2**30


def driver() -> dict:
    if shutil.which("nvidia-smi") is None:
        return {"error": "no nvidia-smi"}
    keys = [
        "name",
        "driver_version",
        "memory.total",
        "clocks.max.sm",
        "clocks.max.memory",
        "power.limit",
        "pcie.link.gen.max",
    ]
    said = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(keys)}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    if said.returncode != 0:
        return {"error": f"nvidia-smi: {last_line(said.stdout, said.stderr)}"}
    return {"gpus": [dict(zip(keys, line.split(", "))) for line in said.stdout.strip().splitlines()]}


def seconds(work: Callable[[], object], end: float, most: float = 1.0) -> float:
    """Of one call, the least of several."""
    import torch

    work()
    torch.cuda.synchronize()
    best, stop = float("inf"), min(end, time.monotonic() + most)
    while best == float("inf") or time.monotonic() < stop:
        start, done = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        done.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(done) / 1e3)
    return best


def copies(end: float) -> dict:
    """GB/s: of reading and writing within the device, and between it and pinned memory."""
    import torch

    device = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(device)
    host = torch.empty(GIB // 4, dtype=torch.uint8, pin_memory=True)
    part = device[: GIB // 4]
    return {
        "device": 2 * GIB / seconds(lambda: other.copy_(device), end) / 1e9,
        "to_device": GIB / 4 / seconds(lambda: part.copy_(host, non_blocking=True), end) / 1e9,
        "to_host": GIB / 4 / seconds(lambda: host.copy_(part, non_blocking=True), end) / 1e9,
    }


def products(end: float) -> dict:
    """TFLOP/s by "dtype size contents"."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name, dtype, n in (
        ("bf16", torch.bfloat16, 8192),
        ("fp32", torch.float32, 4096),
        ("fp64", torch.float64, 4096),
    ):
        for what, make in (("random", torch.randn), ("zeros", torch.zeros)):
            a, b = (make(n, n, device="cuda").to(dtype) for _ in range(2))
            found[f"{name} {n} {what}"] = 2 * n**3 / seconds(lambda a=a, b=b: a @ b, end) / 1e12
    return found


def run(_: Place, end: float) -> dict:
    try:
        import torch
    except ImportError:
        return {"ok": False, "error": f"{sys.executable} has no PyTorch: no ceilings", "driver": driver()}
    found: dict = {"driver": driver(), "torch": torch.__version__, "cuda": torch.version.cuda}
    if not torch.cuda.is_available():
        return {"ok": False, "error": "PyTorch sees no GPU", **found}
    found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    found["copy_gb_s"] = copies(end)
    found["gemm_tflop_s"] = products(end)
    best = found["gemm_tflop_s"]["bf16 8192 random"]
    return {
        "ok": True,
        "summary": f"bf16 {best:.0f} TFLOP/s, copies {found['copy_gb_s']['device']:.0f} GB/s",
        **found,
    }
