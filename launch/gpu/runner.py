"""Runs stages, each in a process of its own with a limit, and writes what each has found as it ends."""

import json
import multiprocessing
import pathlib
import queue
import time

import stages
from place import Place


def body(name: str, place: Place, limit: float, results: multiprocessing.Queue) -> None:
    try:
        results.put(stages.ALL[name].run(place, time.monotonic() + limit))
    except Exception as error:  # of any kind: the next stage runs all the same
        results.put({"ok": False, "error": f"{type(error).__name__}: {error}"})


def run_one(name: str, place: Place, limit: float) -> dict:
    results: multiprocessing.Queue = multiprocessing.Queue()
    worker = multiprocessing.Process(target=body, args=(name, place, limit, results))
    begin = time.monotonic()
    worker.start()
    try:
        found = results.get(timeout=limit + 5)
    except queue.Empty:
        found = {"ok": False, "error": f"not finished after {limit:.0f} s"}
    worker.join(5)
    if worker.is_alive():
        worker.kill()
    return {"stage": name, "seconds": round(time.monotonic() - begin, 1), **found}


def run(place: Place, names: list[str], out: pathlib.Path, limit: float) -> int:
    end = time.monotonic() + limit
    well = True
    for name in names:
        left = min(stages.ALL[name].limit, end - time.monotonic())
        if left < 5:
            result = {"stage": name, "ok": False, "error": f"no time was left of the {limit:.0f} s"}
        else:
            result = run_one(name, place, left)
        with out.open("a") as file:
            file.write(json.dumps(result) + "\n")
        well = well and result["ok"]
        print(f"gpu_check: {name}: {'ok' if result['ok'] else 'NOT OK'}, {summary(result)}", flush=True)
    print(f"gpu_check: {'all well' if well else 'something is not well'}: {out}")
    return 0 if well else 1


def summary(result: dict) -> str:
    return result.get("error") or result.get("summary") or f"{result.get('seconds', 0)} s"
