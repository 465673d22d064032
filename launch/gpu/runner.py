"""Runs stages, each in a process of its own with a limit, and writes what each has found as it ends."""

import datetime
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import time

import stages
from place import Place
from processes import code_of, end_session

ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AskedToEnd(Exception):
    pass


def body(name: str, place: Place, limit: float, results: multiprocessing.connection.Connection) -> None:
    os.setsid()  # what it starts ends with its session
    for number in ASKED_TO_END:
        signal.signal(number, signal.SIG_DFL)
    try:
        found = stages.ALL[name].run(place, time.monotonic() + limit)
    except Exception as error:  # of any kind: the next stage runs all the same
        found = {
            "ok": False,
            "error": str(error) if isinstance(error, stages.Failed) else f"{type(error).__name__}: {error}",
        }
    results.send(found)


def run_one(name: str, place: Place, limit: float) -> dict:
    results, of_worker = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.get_context("fork").Process(target=body, args=(name, place, limit, of_worker))
    worker.start()
    of_worker.close()
    try:
        # A stage that minds its limit says what it has until then.
        ready = multiprocessing.connection.wait([results, worker.sentinel], timeout=limit + 3)
        if not ready:
            return {"ok": False, "error": f"not finished after {limit:.0f} s"}
        try:
            return results.recv()
        except EOFError:
            worker.join(5)
            return {"ok": False, "error": f"the stage's process ended with {code_of(worker.exitcode or 0)}"}
    finally:
        if worker.is_alive():
            worker.join(1)
        end_session(worker.pid)
        worker.kill()
        worker.join()


def asked_to_end(*_: object) -> None:
    for number in ASKED_TO_END:
        signal.signal(number, signal.SIG_IGN)
    raise AskedToEnd


def json_line(value: dict) -> str:
    """JSON has no NaN and no infinity: they become words."""

    def plain(part):
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [plain(inner) for inner in part]
        return str(part) if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(plain(value)) + "\n"


def write(place: Place, result: dict) -> None:
    with place.out.open("a") as file:
        file.write(json_line(result))
    print(f"gpu_check: {result['stage']}: {'ok' if result['ok'] else 'NOT OK'}, {summary(result)}", flush=True)


def run(place: Place, names: list[str], limit: float) -> int:
    for number in ASKED_TO_END:
        signal.signal(number, asked_to_end)
    end = time.monotonic() + limit
    well = True
    for name in names:
        begin = time.monotonic()
        left = min(stages.ALL[name].limit, end - begin)
        result = {"stage": name, "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
        try:
            found = (
                run_one(name, place, left)
                if left >= 1
                else {"ok": False, "error": f"no time was left of the {limit:.0f} s"}
            )
        except AskedToEnd:
            write(place, {**result, "ok": False, "error": "stopped by a signal"})
            return 130
        result |= {"seconds": round(time.monotonic() - begin, 1), **found}
        write(place, result)
        well = well and result["ok"]
    print(f"gpu_check: {'all well' if well else 'something is not well'}: {place.out}")
    return 0 if well else 1


def summary(result: dict) -> str:
    return result.get("error") or result.get("summary") or f"{result.get('seconds', 0)} s"
