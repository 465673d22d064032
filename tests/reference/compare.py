"""Trains the default recipe with the program and with the twin, in turn.

    python compare.py --program build/release/mumoe --seeds 1 2 3

Both use the same token files, steps, batch and evaluation windows, on the same
cores, one run after the other (ours, twin, ours, ...). Prints one line a run
and then the means: validation loss in nats and bits a token (a byte, for
bytes), and wall time of the training steps.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def run_ours(args: argparse.Namespace, seed: int) -> dict:
    """One run of the program on two ranks."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "run"
        command = [str(ROOT / "launch" / "mpirun"), "-n", str(args.ranks),
                   args.program, "train", "--config", args.config,
                   "--train.seed", str(seed), "--train.out", str(out),
                   "--train.steps", str(args.steps),
                   "--schedule.warmup", "50",  # the twin's, however many steps
                   "--train.eval_windows", str(args.eval_windows)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (out / "metrics.jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    return {"loss": reports[-1]["val_loss"],
            "wall_s": sum(r["step_ms"] for r in reports) / 1000}


def run_twin(args: argparse.Namespace, seed: int) -> dict:
    """One run of train_twin.py."""
    command = [sys.executable, str(HERE / "train_twin.py"),
               "--mlp", args.mlp, "--seed", str(seed),
               "--steps", str(args.steps),
               "--eval_windows", str(args.eval_windows),
               "--train", str(args.data / "train.bin"),
               "--val", str(args.data / "val.bin")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.strip().splitlines()[-1])
    return {"loss": report["val_nats_per_token"], "wall_s": report["wall_s"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--config",
                        default=str(ROOT / "configs" / "gpt2_cp_small.cfg"))
    parser.add_argument("--data", type=pathlib.Path, required=True,
                        help="folder with train.bin and val.bin")
    parser.add_argument("--mlp", default="cp", choices=["cp", "dense"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--eval_windows", type=int, default=256)
    args = parser.parse_args()

    runs: dict[str, list[dict]] = {"ours": [], "twin": []}
    for seed in args.seeds:
        for name, run in (("ours", run_ours), ("twin", run_twin)):
            result = run(args, seed)
            runs[name].append(result)
            print(f"{name} seed {seed}: {result['loss']:.4f} nats/token, "
                  f"{result['wall_s']:.1f} s", flush=True)
    for name, results in runs.items():
        loss = statistics.mean(r["loss"] for r in results)
        wall = statistics.median(r["wall_s"] for r in results)
        print(f"{name}: mean {loss:.4f} nats/token, {loss / math.log(2):.4f} "
              f"bits/token, median {wall:.1f} s")
    ratios = [a["wall_s"] / b["wall_s"]
              for a, b in zip(runs["ours"], runs["twin"])]
    print(f"wall time ours/twin: {statistics.median(ratios):.3f} (median of "
          f"{len(ratios)} pairs)")


if __name__ == "__main__":
    main()
