"""The program's own tests of a GPU, and compute-sanitizer's view of its kernels."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import processes
import programs
from place import Place
from processes import Failed, call

# Those that start kernels of the project's .cu files.
OF_KERNELS = ("test_kernels", "test_norm", "test_cross_entropy", "test_mixture")
TOOLS = ("memcheck", "racecheck")
AT_ONCE = 4  # programs under a tool
MOST = 60  # seconds of one test program


def run_test(place: Place, program: pathlib.Path, end: float) -> dict:
    begin = time.monotonic()
    entry: dict = {"name": program.name}
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        try:
            call([str(program), f"--gtest_output=json:{report}"], place.environment, min(end, begin + MOST))
        except Failed as failed:
            entry["error"] = str(failed)
        if report.exists():
            sums = json.loads(report.read_text())
            entry |= {"tests": sums["tests"], "failures": sums["failures"]}
            names = [
                f"{suite['name']}.{test['name']}"
                for suite in sums["testsuites"]
                for test in suite["testsuite"]
                if test.get("failures")
            ]
            if names:
                entry["failed"] = names
    return entry | {"seconds": round(time.monotonic() - begin, 1)}


def sanitizer() -> str | None:
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    path = f"{os.environ.get('PATH', '')}:{cuda}/bin:{cuda}/compute-sanitizer"
    return shutil.which("compute-sanitizer", path=path)


class Sanitized:
    """A test of kernels under one tool, begun; what it says goes to a file."""

    def __init__(self, place: Place, tool: str, check: str, test: pathlib.Path) -> None:
        self.entry: dict = {"tool": check, "name": test.name}
        self.begin = time.monotonic()
        self.said = tempfile.TemporaryFile("w+")
        # Memory that LibTorch keeps for later is not out of bounds for the tool.
        environment = {**place.environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        command = [tool, "--tool", check, "--error-exitcode", "9", str(test)]
        self.program = processes.start(command, environment, stdout=self.said, stderr=subprocess.STDOUT)

    def finish(self) -> dict:
        """Ends it where it has not ended."""
        code = self.program.poll()
        processes.end_group(self.program)
        if code is None:
            self.entry["error"] = f"{self.entry['tool']} of {self.entry['name']}: no time was left"
        elif code != 0:
            self.said.seek(0)
            said = [line for line in self.said.read().splitlines() if line.startswith("=====")]
            found = said[-1].strip("= ") if said else "it said nothing"
            self.entry["error"] = f"{self.entry['tool']} of {self.entry['name']}: {processes.code_of(code)}: {found}"
        self.said.close()
        return self.entry | {"seconds": round(time.monotonic() - self.begin, 1)}


def sanitize(place: Place, tool: str, end: float) -> list[dict]:
    """Every test of kernels under memcheck and under racecheck, some at once."""
    waiting = [(check, test) for check in TOOLS for test in place.tests if test.name.startswith(OF_KERNELS)]
    running: list[Sanitized] = []
    found = []
    while (waiting or running) and programs.left(end) > 2:
        while waiting and len(running) < AT_ONCE:
            running.append(Sanitized(place, tool, *waiting.pop(0)))
        time.sleep(0.1)
        found += [run.finish() for run in running if run.program.poll() is not None]
        running = [run for run in running if not run.said.closed]
    found += [run.finish() for run in running]
    for check, test in waiting:
        found.append({"tool": check, "name": test.name, "error": f"{check} of {test.name}: no time was left"})
    return found


def tests(place: Place, end: float) -> dict:
    """Every GPU test but NCCL's, which is a stage; those of kernels under compute-sanitizer too, where it is."""
    found = [run_test(place, p, end) for p in place.tests if not p.name.startswith("test_nccl")]
    tool = sanitizer()
    sanitized = sanitize(place, tool, end) if tool else []
    errors = [entry["error"] for entry in (*found, *sanitized) if "error" in entry]
    count = sum(entry.get("tests", 0) for entry in found)
    summary = f"{len(found)} programs, {count} tests, {len(errors)} not well; "
    if tool:
        summary += f"{len(sanitized)} runs under compute-sanitizer"
    else:
        summary += "compute-sanitizer is not installed: kernels not checked by it"
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
