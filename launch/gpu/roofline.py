"""Every kernel's share of what this card can do at most, as the probe has measured it."""

import json

from place import Place
from processes import call


def ceilings(place: Place) -> dict | None:
    """GB/s and TFLOP/s of the last probe that wrote into the same file."""
    found = None
    for line in place.out.read_text().splitlines():
        entry = json.loads(line)
        if entry.get("stage") == "probe" and entry.get("ok"):
            found = {
                "at": entry["at"],
                "gb_s": entry["copy_gb_s"]["device"],
                "tflop_s": max(
                    rate for name, rate in entry["gemm_tflop_s"].items() if name.startswith("bf16") and "random" in name
                ),
            }
    return found


def share(kernel: dict, most: dict) -> dict:
    """Which ceiling is nearer, and how near."""
    of_bytes = kernel["gb_s"] / most["gb_s"]
    of_flops = kernel["tflop_s"] / most["tflop_s"]
    bound, part = ("bytes", of_bytes) if of_bytes >= of_flops else ("products", of_flops)
    return {**kernel, "bound": bound, "share": round(part, 3)}


def run(place: Place, end: float) -> dict:
    most = ceilings(place)
    if most is None:
        return {
            "ok": False,
            "error": f"{place.out} has no probe that is ok: expected one before (gpu_check probe roofline)",
        }
    said = call([str(place.program), "bench", "kernels", "--json"], place.environment, end)
    kernels = [share(json.loads(line), most) for line in said.splitlines() if line.startswith("{")]
    if not kernels:
        return {"ok": False, "error": "mumoe bench kernels: no line of JSON"}
    kernels.sort(key=lambda kernel: kernel["share"])
    low = ", ".join(f"{kernel['kernel']} {kernel['share']:.0%}" for kernel in kernels[:3])
    return {"ok": True, "summary": f"{len(kernels)} kernels, lowest {low}", "ceilings": most, "kernels": kernels}
