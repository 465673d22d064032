#!/usr/bin/env python3
"""losses.py EXPECTED FOUND [TOLERANCE]: whether FOUND/metrics.jsonl has each step of EXPECTED/metrics.jsonl once and in
order, with the same samples and losses: the same bits, or up to TOLERANCE, relative. A line for each difference."""

import json
import sys


def steps(folder: str) -> list[dict]:
    with open(folder + "/metrics.jsonl") as file:
        lines = [json.loads(line) for line in file]
    return [line for line in lines if "event" not in line]


def main() -> None:
    expected, found = steps(sys.argv[1]), steps(sys.argv[2])
    tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    names = [line["step"] for line in expected], [line["step"] for line in found]
    wrong = [] if names[0] == names[1] else [f"steps {names[1]}, expected {names[0]}"]
    for one, other in zip(expected, found):
        if one["samples_hash"] != other["samples_hash"]:
            wrong.append(f"step {one['step']}: other samples")
        if abs(one["loss"] - other["loss"]) > tolerance * abs(one["loss"]):
            wrong.append(f"step {one['step']}: loss {other['loss']!r}, expected {one['loss']!r}")
    print("\n".join(wrong), end="")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
