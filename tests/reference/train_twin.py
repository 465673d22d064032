"""Trains the twin on CPU with one of the project's small recipes.

    python train_twin.py --train train.bin --val val.bin --mlp cp --seed 1

The peer of `mumoe train --config` with gpt2_cp_small.cfg (`--recipe small`) or
gpt2_bpe_cp.cfg (`--recipe bpe`) and their like: the same model, batch, schedule,
optimizer, token files and validation windows; its random numbers are its own.
Prints a line every 50 steps and, last, one line of JSON.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from twin import BlockConfig
from twin_models import GPT2, GPT2Config, adamw, cross_entropy

CONTEXT, DEPTH, HEADS = 256, 4, 4
EXPERTS = 64
LR, MIN_LR = 1e-3, 1e-4
BETAS, EPS, WEIGHT_DECAY, CLIP = (0.9, 0.95), 1e-8, 0.1, 1.0
REPORT_EVERY = 50
EVALUATED_AT_ONCE = 16  # sequences


@dataclasses.dataclass(frozen=True)
class Recipe:
    vocab: int
    width: int
    steps: int
    batch: int  # sequences
    ranks: dict[str, tuple[int, ...]]  # as many parameters as the dense MLP


RECIPES = {
    "small": Recipe(256, 256, 500, 16, {"cp": (199,)}),
    "bpe": Recipe(50304, 128, 400, 8, {"cp": (87,), "tr": (4, 4, 23)}),
}
HEADER_INTS, MAGIC, UINT16_VERSION = 256, 20240520, 1


def read_tokens(path: Path, vocab: int) -> Tensor:
    """llm.c's header (256 int32) and uint16 tokens, or bare uint16 tokens."""
    header = np.fromfile(path, dtype="<i4", count=HEADER_INTS)
    if header.size < HEADER_INTS or header[0] != MAGIC:
        tokens = np.fromfile(path, dtype="<u2")
    else:
        if header[1] != UINT16_VERSION:
            raise SystemExit(f"{path}: version {header[1]}, expected 1")
        tokens = np.fromfile(path, dtype="<u2", offset=4 * HEADER_INTS)
        if tokens.size != header[2]:
            raise SystemExit(
                f"{path}: {tokens.size} tokens, the header says {header[2]}"
            )
    if tokens.size < CONTEXT + 1:
        raise SystemExit(f"{path}: fewer than {CONTEXT + 1} tokens")
    if tokens.max() >= vocab:
        raise SystemExit(f"{path}: token {tokens.max()}, vocabulary {vocab}")
    return torch.from_numpy(tokens.astype(np.int64))


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up for a tenth, then a cosine that would reach MIN_LR."""
    warmup = steps // 10
    if step < warmup:
        return LR * (step + 1) / warmup
    progress = (step - warmup) / (steps - warmup)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * progress))


def windows(tokens: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets, both [len(starts), CONTEXT]."""
    block = tokens[starts[:, None] + torch.arange(CONTEXT + 1)]
    return block[:, :-1], block[:, 1:]


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def train(
    model: GPT2,
    tokens: Tensor,
    steps: int,
    batch: int,
    seed: int,
    precision: str,
) -> float:
    """Returns the seconds spent in the loop."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = adamw(model, LR, BETAS, EPS, WEIGHT_DECAY)
    model.train()
    begin = reported = time.perf_counter()
    reported_step = 0
    for step in range(steps):
        last_start = tokens.numel() - CONTEXT - 1
        starts = torch.randint(0, last_start + 1, (batch,), generator=generator)
        inputs, targets = windows(tokens, starts)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        with autocast(precision):
            loss = cross_entropy(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        done = step + 1
        if done % REPORT_EVERY == 0 or done == steps:
            now = time.perf_counter()
            rate = (done - reported_step) * batch * CONTEXT / (now - reported)
            print(
                f"step {done}/{steps}  loss {loss.item():.4f}  "
                f"{rate:.0f} tokens/s",
                flush=True,
            )
            reported, reported_step = time.perf_counter(), done
    return time.perf_counter() - begin


def validation_starts(tokens: Tensor, count: int) -> Tensor:
    """Where the `count` validation windows start, as the program has them:

    of the F = floor((tokens - 1) / CONTEXT) windows that fit without overlap,
    window i is number floor(i F / count).
    """
    fitting = (len(tokens) - 1) // CONTEXT
    if count > fitting:
        raise SystemExit(f"only {fitting} validation windows fit, not {count}")
    return torch.arange(count) * fitting // count * CONTEXT


@torch.no_grad()
def evaluate(
    model: GPT2, tokens: Tensor, starts: Tensor, precision: str
) -> float:
    """Mean nats per token over the windows at `starts`."""
    model.eval()
    total = 0.0
    for part in starts.split(EVALUATED_AT_ONCE):
        inputs, targets = windows(tokens, part)
        with autocast(precision):
            loss = cross_entropy(model(inputs), targets)
        total += loss.item() * len(part)
    return total / len(starts)


def main() -> None:
    parser = argparse.ArgumentParser(description="the PyTorch peer")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="small")
    parser.add_argument("--mlp", choices=("cp", "tr", "dense"), default="cp")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--eval_windows", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    if options.steps is None:
        options.steps = recipe.steps
    if options.mlp != "dense" and options.mlp not in recipe.ranks:
        parser.error(f"--recipe {options.recipe}: no --mlp {options.mlp}")
    if options.steps < 1 or options.eval_windows < 1:
        parser.error("--steps and --eval_windows must be at least 1")

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train_tokens = read_tokens(options.train, recipe.vocab)
    val_tokens = read_tokens(options.val, recipe.vocab)
    val_starts = validation_starts(val_tokens, options.eval_windows)
    block = None
    if options.mlp != "dense":
        block = BlockConfig(
            options.mlp, (EXPERTS,), recipe.ranks[options.mlp], input_ln=True
        )
    model = GPT2(
        GPT2Config(
            vocab=recipe.vocab,
            context=CONTEXT,
            depth=DEPTH,
            heads=HEADS,
            width=recipe.width,
            block=block,
        )
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{options.mlp}: {parameters} parameters, "
        f"{train_tokens.numel()} training tokens, "
        f"{val_tokens.numel()} validation tokens"
    )
    wall_s = train(
        model,
        train_tokens,
        options.steps,
        recipe.batch,
        options.seed,
        options.precision,
    )
    nats = evaluate(model, val_tokens, val_starts, options.precision)
    print(
        json.dumps(
            {
                "mlp": options.mlp,
                "seed": options.seed,
                "steps": options.steps,
                "precision": options.precision,
                "parameters": parameters,
                "val_nats_per_token": nats,
                "wall_s": wall_s,
                "tokens_per_s": options.steps * recipe.batch * CONTEXT / wall_s,
            }
        )
    )


if __name__ == "__main__":
    main()
