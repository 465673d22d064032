"""Compares ViTs of timm and transformers with what `mumoe` makes of their weights: logits to 1e-4, gradients to 1e-3.

check_vit.py BUILD: BUILD is a build folder with the test binary test_vit_weights. Random models in CLIP's and DINO's form, of
several sizes made anew, one of them with B/32's patches and heads of 64."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import vit_cases

SIZES = {
    "narrow": dict(image=12, patch=4, width=24, heads=2, hidden=40, depth=3),
    "deep": dict(image=20, patch=5, width=48, heads=4, hidden=192, depth=6),
    "base": dict(image=96, patch=32, width=192, heads=3, hidden=768, depth=4),
}


def main():
    (test,) = Path(sys.argv[1]).resolve().rglob("test_vit_weights")
    for seed, (size, numbers) in enumerate(SIZES.items()):
        with tempfile.TemporaryDirectory() as folder:
            for name in vit_cases.MODELS:
                vit_cases.write_case(folder, name, numbers, seed + 7)
            done = subprocess.run([test, "--gtest_filter=VitWeights.GiveTheAnswers*"], capture_output=True, text=True,
                                  env=os.environ | {"MUMOE_VIT_DIR": folder})  # fmt: skip
        if done.returncode != 0:
            sys.exit(f"{size}: code {done.returncode}\n{done.stdout}{done.stderr}")
        print(size, *[line for line in done.stdout.splitlines() if "logits off" in line], sep="\n  ")


if __name__ == "__main__":
    main()
