"""Checks `mumoe convert` against transformers, both ways: logits to 1e-4, greedy generation token for token.

check_hf.py BUILD: BUILD is a build folder with mumoe and the test binary test_convert. Into mumoe: random GPT-2s of several
shapes. Out of it: a run that mumoe trains on a text made up here, exported, and loaded by transformers."""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

import hf_cases

INTO = {
    "one": dict(vocab_size=50257, n_positions=12, n_embd=24, n_layer=1, n_head=3, activation_function="gelu"),
    "deep": dict(vocab_size=97, n_positions=32, n_embd=48, n_layer=4, n_head=4, initializer_range=0.2),  # gelu_new
    "wide": dict(vocab_size=300, n_positions=20, n_embd=64, n_layer=2, n_head=8, n_inner=100, activation_function="gelu"),
}
SHAPE = ["--model.mlp", "dense", "--model.depth", "2", "--model.heads", "4", "--model.width", "32", "--model.context", "24"]


def run(*command, env=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def corpus(folder):
    folder.mkdir()
    draw = random.Random(4)
    words = "we hold these truths to be plain that all are free and equal in law".split()
    for number in range(12):
        lines = [" ".join(draw.choice(words) for _ in range(9)) + "." for _ in range(60)]
        (folder / f"{number}.txt").write_text("\n".join(lines) + "\n")


def export_of_a_run(mumoe, folder, bias):
    """A run, its weights as transformers has them, and what transformers answers with these."""
    out, case = folder / f"run_{bias}", folder / "cases" / f"out_{bias}"
    run(mumoe, "train", *SHAPE, "--model.bias", bias, "--data.source", folder / "texts", "--train.steps", 60,
        "--train.batch", 8, "--train.precision", "fp32", "--optimizer.lr", "3e-3", "--train.out", out)
    run(mumoe, "convert", "--from", out, "--to", folder / f"hf_{bias}")
    model = GPT2LMHeadModel.from_pretrained(folder / f"hf_{bias}").eval()
    case.mkdir(parents=True)
    hf_cases.write_expected(model, case, seed=9)
    # The run itself, not its export, must answer so.
    (case / "weights").symlink_to(out)
    return out, model


def check_text(mumoe, out, model):
    """`mumoe sample` writes the tokens of transformers."""
    prompt = "we hold "
    ours = run(mumoe, "sample", "--run", out, "--prompt", prompt, "--tokens", 12, "--temperature", 0)
    # A document begins with the token that ends the one before: zero, of bytes.
    tokens = torch.tensor([[0, *prompt.encode()]])
    theirs = bytes(hf_cases.greedy(model, tokens, 12)[0].tolist()).decode()
    if ours.rstrip("\n") != (prompt + theirs).rstrip("\n"):
        sys.exit(f"{out}: mumoe writes {ours!r}, transformers {prompt + theirs!r}")


def main():
    build = Path(sys.argv[1]).resolve()
    mumoe = build / "mumoe"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, config in INTO.items():
            hf_cases.write_case(folder / "cases" / case, seed=len(case), **config)
        corpus(folder / "texts")
        for bias in ("yes", "no"):
            check_text(mumoe, *export_of_a_run(mumoe, folder, bias))
        (test,) = build.rglob("test_convert")
        run(test, "--gtest_filter=Convert.TransformersModels*", env=os.environ | {"MUMOE_HF_DIR": str(folder / "cases")})
        print(f"{len(INTO)} models of transformers and 2 runs: the same logits and the same tokens")


if __name__ == "__main__":
    main()
