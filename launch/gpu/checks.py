"""The program's own tests of a GPU, and compute-sanitizer's view of its kernels."""

import json
import os
import pathlib
import shutil
import tempfile
import time

import programs
from place import Place
from processes import Failed, call

# Those that start kernels of the project's .cu files.
OF_KERNELS = ("test_kernels", "test_norm", "test_cross_entropy", "test_mixture")
TOOLS = ("memcheck", "racecheck")


def run_test(place: Place, program: pathlib.Path, end: float) -> dict:
    begin = time.monotonic()
    entry: dict = {"name": program.name}
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        try:
            call([str(program), f"--gtest_output=json:{report}"], place.environment, end)
        except Failed as failed:
            entry["error"] = str(failed)
        if report.exists():
            sums = json.loads(report.read_text())
            entry |= {"tests": sums["tests"], "failures": sums["failures"]}
            names = [f"{suite['name']}.{test['name']}" for suite in sums["testsuites"] for test in suite["testsuite"]
                     if test.get("failures")]
            if names:
                entry["failed"] = names
    return entry | {"seconds": round(time.monotonic() - begin, 1)}


def sanitizer() -> str | None:
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=f"{cuda}/bin:{cuda}/compute-sanitizer")


def sanitize(place: Place, tool: str, end: float) -> list[dict]:
    """Every test of kernels under memcheck, then under racecheck, each run until `end`."""
    # Memory that LibTorch keeps for later is not out of bounds for the tool.
    environment = {**place.environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    found = []
    for check in TOOLS:
        for program in (p for p in place.tests if p.name.startswith(OF_KERNELS)):
            entry: dict = {"tool": check, "name": program.name}
            begin = time.monotonic()
            if programs.left(end) < 5:
                entry["error"] = f"{check} of {program.name}: no time was left"
            else:
                try:
                    call([tool, "--tool", check, "--error-exitcode", "9", str(program)], environment, end)
                except Failed as failed:
                    entry["error"] = f"{check} of {program.name}: {failed}"
            found.append(entry | {"seconds": round(time.monotonic() - begin, 1)})
    return found


def tests(place: Place, end: float) -> dict:
    """Every GPU test but NCCL's, which is a stage; where the toolkit has it, those of kernels under compute-sanitizer."""
    found = [run_test(place, p, end) for p in place.tests if not p.name.startswith("test_nccl")]
    tool = sanitizer()
    sanitized = sanitize(place, tool, end) if tool else []
    errors = [entry["error"] for entry in (*found, *sanitized) if "error" in entry]
    said = f"{len(sanitized)} runs under compute-sanitizer" if tool else "compute-sanitizer is not installed: kernels not checked by it"
    summary = f"{len(found)} programs, {sum(entry.get('tests', 0) for entry in found)} tests, {len(errors)} not well; {said}"
    if errors:
        summary += f"; first: {errors[0]}"
    return {"ok": bool(found) and not errors, "summary": summary, "programs": found, "sanitizer": sanitized}


def nccl(place: Place, end: float) -> dict:
    """NCCL with one rank and, where there are several GPUs, with a thread of one process for each."""
    program = next((p for p in place.tests if p.name == "test_nccl_gpu"), None)
    if program is None:
        return {"ok": False, "error": "test_nccl_gpu is not here: expected it beside the program, or in the build"}
    entry = run_test(place, program, end)
    return {"ok": "error" not in entry, "summary": entry.get("error") or f"{entry.get('tests', 0)} tests", **entry}
