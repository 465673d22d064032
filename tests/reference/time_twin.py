"""Times training steps of the twin's GPT-2, compiled.

    echo 10 | python time_twin.py --device cuda --micro_batch 16

Reads lines `STEPS` until the end, runs that many steps for each, and answers
with one line of JSON: medians of a step. The first line of all also compiles.
The peer of `mumoe train` with one micro-batch a step: the same shapes, products
in bf16 under autocast, fp32 masters, clipping and a fused AdamW; its tokens are
random. launch/gpu_check asks this program and ours in turn. It needs PyTorch
alone.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import entmax_cuda

# twin.py's entmax, on machines that have the package as well: one peer.
sys.modules["entmax"] = entmax_cuda

from twin import BlockConfig  # noqa: E402
from twin_models import GPT2, GPT2Config, adamw, cross_entropy  # noqa: E402

LR, BETAS, EPS, WEIGHT_DECAY, CLIP = 6e-4, (0.9, 0.95), 1e-8, 0.1, 1.0


def arguments() -> argparse.Namespace:
    """Of the program; by default, GPT-2 124M."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shape = {
        "vocab": 50304,
        "context": 1024,
        "depth": 12,
        "heads": 12,
        "width": 768,
        "experts": 256,
        "rank": 556,
        "micro_batch": 16,
    }
    for name, value in shape.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    precisions = ("bf16", "fp32")
    parser.add_argument("--precision", choices=precisions, default="bf16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--compile", choices=("yes", "no"), default="yes")
    return parser.parse_args()


def make(options: argparse.Namespace) -> GPT2:
    torch.manual_seed(1)
    ranks, experts = (options.rank,), (options.experts,)
    block = BlockConfig("cp", experts, ranks, input_ln=True)
    config = GPT2Config(
        vocab=options.vocab,
        context=options.context,
        depth=options.depth,
        heads=options.heads,
        width=options.width,
        block=block,
    )
    with torch.device(options.device):
        return GPT2(config)


def step_of(options: argparse.Namespace) -> Callable[[], Tensor]:
    """One step, which returns the loss and does not wait for the device."""
    model = make(options)
    fused = torch.optim.AdamW(
        adamw(model, LR, BETAS, EPS, WEIGHT_DECAY).param_groups,
        lr=LR,
        betas=BETAS,
        eps=EPS,
        fused=True,
    )
    bf16 = options.precision == "bf16"

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(options.device, torch.bfloat16, enabled=bf16):
            return cross_entropy(model(inputs), targets)

    if options.compile == "yes":
        loss_of = torch.compile(loss_of)
    shape = (options.micro_batch, options.context + 1)

    def step() -> Tensor:
        tokens = torch.randint(options.vocab, shape, device=options.device)
        fused.zero_grad(set_to_none=True)
        loss = loss_of(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        fused.step()
        return loss.detach()

    return step


def answer(
    step: Callable[[], Tensor], steps: int, options: argparse.Namespace
) -> dict:
    on_gpu = options.device == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    wait()
    seconds, loss = [], None
    for _ in range(steps):
        begin = time.perf_counter()
        loss = step()
        wait()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    tokens = options.micro_batch * options.context
    found = {
        "steps": steps,
        "loss": loss.item(),
        "step_ms": 1000 * median,
        "tokens_per_s": tokens / median,
    }
    if on_gpu:
        found["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.empty_cache()  # while the other program has its turn
    return found


def main() -> None:
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    torch.set_float32_matmul_precision("high")
    step = step_of(options)
    for line in sys.stdin:
        if not line.strip().isdigit() or int(line) < 1:
            sys.exit(f"{line.strip()}: expected a number of steps")
        print(json.dumps(answer(step, int(line), options)), flush=True)


if __name__ == "__main__":
    main()
