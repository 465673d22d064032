"""Trains the twin's MLP-Mixer on CPU with the project's recipe for small images.

    python train_mixer_twin.py --data FOLDER --mlp cp --seed 1

The peer of `mumoe train --config configs/mixer_fashion_cp.cfg`: the same model,
batch, schedule and optimizer on the same idx files; its random numbers are its
own. FOLDER holds {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz.
Prints a line every epoch and, last, one line of JSON.
"""

import argparse
import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from twin import BlockConfig
from twin_models import Mixer, MixerConfig, adamw, cross_entropy

SIZE, PATCH, CLASSES = 28, 7, 10
DEPTH, WIDTH, TOKEN_HIDDEN, CHANNEL_HIDDEN = 4, 96, 64, 416
EXPERTS = 16
RANKS = {"cp": ((9,), (74,)), "tr": ((4, 4, 2), (4, 4, 19))}  # tokens, channels
BATCH, LR, EPOCHS = 128, 1.5e-3, 5
BETAS, EPS, WEIGHT_DECAY, CLIP = (0.9, 0.999), 1e-8, 1e-2, 1.0
MEAN, STD = 0.2860, 0.3530


def read_idx(path: Path) -> Tensor:
    """uint8 of any shape: zeros, type 8, dims; sizes as big-endian int32."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise SystemExit(f"{path}: no idx file of bytes")
    dims = content[3]
    shape = np.frombuffer(content, ">i4", count=dims, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dims)
    return torch.from_numpy(values.reshape(shape).copy())


def normalised(images_BHW: Tensor) -> Tensor:
    return ((images_BHW.float() / 255 - MEAN) / STD)[:, None]


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up for a tenth of them, then linear to 0 at `steps`."""
    warmup = steps // 10
    if step < warmup:
        return LR * (step + 1) / warmup
    return LR * (1 - (step - warmup) / (steps - warmup))


def make_model(mlp: str) -> Mixer:
    token_block = channel_block = None
    if mlp != "dense":
        token_block, channel_block = (
            BlockConfig(mlp, (EXPERTS,), ranks, gate_norm="bn", input_ln=False)
            for ranks in RANKS[mlp]
        )
    return Mixer(
        MixerConfig(
            image_size=SIZE,
            patch_size=PATCH,
            channels=1,
            classes=CLASSES,
            depth=DEPTH,
            width=WIDTH,
            token_hidden=TOKEN_HIDDEN,
            channel_hidden=CHANNEL_HIDDEN,
            token_block=token_block,
            channel_block=channel_block,
        )
    )


@torch.no_grad()
def evaluate(model: Mixer, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean nats an image, and the share whose likeliest class is right."""
    model.eval()
    loss, right = 0.0, 0
    for part, label in zip(images.split(500), labels.split(500)):
        logits = model(normalised(part))
        loss += cross_entropy(logits, label).item() * len(part)
        right += int((logits.argmax(1) == label).sum())
    model.train()
    return loss / len(images), right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="the PyTorch peer")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mlp", choices=("cp", "tr", "dense"), default="cp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    files = {
        part: (
            read_idx(options.data / f"{part}-images-idx3-ubyte.gz"),
            read_idx(options.data / f"{part}-labels-idx1-ubyte.gz").long(),
        )
        for part in ("train", "t10k")
    }
    images, labels = files["train"]
    model = make_model(options.mlp)
    parameters = sum(p.numel() for p in model.parameters())
    optimizer = adamw(model, LR, BETAS, EPS, WEIGHT_DECAY, decay_vectors=True)
    steps = math.ceil(options.epochs * len(images) / BATCH)
    generator = torch.Generator().manual_seed(options.seed)
    begin = time.perf_counter()
    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < BATCH:
            more = torch.randperm(len(images), generator=generator)
            order = torch.cat([order, more])
        chosen, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        logits = model(normalised(images[chosen]))
        loss = cross_entropy(logits, labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if (step + 1) % 200 == 0:
            spent = time.perf_counter() - begin
            print(
                f"step {step + 1}/{steps}  loss {loss.item():.4f}  "
                f"{(step + 1) * BATCH / spent:.0f} images/s",
                flush=True,
            )
    wall_s = time.perf_counter() - begin
    val_loss, accuracy = evaluate(model, *files["t10k"])
    print(
        json.dumps(
            {
                "mlp": options.mlp,
                "seed": options.seed,
                "steps": steps,
                "parameters": parameters,
                "val_nats": val_loss,
                "accuracy": accuracy,
                "wall_s": wall_s,
                "images_per_s": steps * BATCH / wall_s,
            }
        )
    )


if __name__ == "__main__":
    main()
