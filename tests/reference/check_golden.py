"""Compares the twin, in fp64, with a directory of golden tensors.

    python check_golden.py DIR

Reads every block_*, gpt2_*, mixer_* and entmax15* file, prints one line per
file and exits with 1 if any of them differs by more than 1e-9 relative
(Frobenius).
"""

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from entmax import entmax15
from safetensors import safe_open
from torch import Tensor, nn

from twin import BlockConfig, MuMoEBlock
from twin_models import (
    GPT2,
    GPT2Config,
    Mixer,
    MixerConfig,
    adamw,
    cross_entropy,
)

TOLERANCE = 1e-9
Tensors = dict[str, Tensor]
Metadata = dict[str, str]


class Comparison:
    """Keeps the worst relative error and the name of its tensor."""

    def __init__(self) -> None:
        self.count = 0
        self.error = 0.0
        self.worst = "-"

    def add(
        self,
        name: str,
        actual: Tensor,
        expected: Tensor,
        floor: float = 0.0,
    ) -> None:
        """`floor` is a norm below which `expected` counts as zero."""
        if actual.shape != expected.shape:
            raise ValueError(
                f"{name}: shape {tuple(actual.shape)}, "
                f"expected {tuple(expected.shape)}"
            )
        scale = max(expected.norm().item(), floor, 1e-300)
        error = (actual.detach() - expected).norm().item() / scale
        self.count += 1
        if math.isnan(error):
            error = math.inf
        if error > self.error:
            self.error, self.worst = error, name

    def add_all(self, prefix: str, actual: Tensors, tensors: Tensors) -> None:
        """Compares every golden `prefix`NAME; the two sets must be equal."""
        expected = take(tensors, prefix)
        if actual.keys() != expected.keys():
            odd = sorted(actual.keys() ^ expected.keys())
            raise ValueError(f"{prefix}: only on one side: {odd}")
        # A gradient that is zero in exact arithmetic is rounding noise here.
        largest = max((t.norm().item() for t in expected.values()), default=0.0)
        for name, tensor in actual.items():
            self.add(prefix + name, tensor, expected[name], 1e-5 * largest)


def take(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors called `prefix`NAME, by NAME."""
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


def load(model: nn.Module, state: Tensors) -> None:
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if "num_batches_tracked" not in key]
    if missing or unexpected:
        raise ValueError(f"missing {missing}, unexpected {unexpected}")


def gradients(model: nn.Module) -> Tensors:
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def ranks_of(text: str) -> tuple[int, ...]:
    """"8", "1,2,5", or a ring's cores "[[r, 0, s], [s, 0, t], ...]"."""
    if not text.startswith("["):
        return integers(text)
    cores = re.findall(r"\[(\d+), *\d+, *\d+\]", text)
    return tuple(int(left) for left in cores)


def entmax15_by_bisection(x_N: Tensor) -> Tensor:
    """a_n = [x_n / 2 - tau]_+^2 with tau such that they sum to 1."""
    x_N = (x_N - x_N.max()) / 2
    low, high = -1.0, 0.0  # sums >= 1 and <= 1
    for _ in range(60):
        tau = (low + high) / 2
        above = (x_N - tau).clamp(min=0).square().sum() > 1
        low, high = (tau, high) if above else (low, tau)
    return (x_N - low).clamp(min=0).square()


def check_entmax15(tensors: Tensors, meta: Metadata) -> Comparison:
    """The gate's function, and the definition, which shares no code with it."""
    result = Comparison()
    for row in range(int(meta["rows"])):
        x, y, w, grad = (
            tensors[f"{row:03}.{part}"] for part in ("x", "y", "w", "grad")
        )
        x = x.clone().requires_grad_()
        found = entmax15(x, dim=-1)
        (found * w).sum().backward()
        result.add(f"{row:03}.y", found, y)
        result.add(f"{row:03}.grad", x.grad, grad)
        defined = entmax15_by_bisection(x.detach())
        result.add(f"{row:03}.y by definition", defined, y)
        s = defined.sqrt()
        defined = s * (w - (s * w).sum() / s.sum())
        # It may be zero in exact arithmetic: then it is noise, in units of w.
        floor = 1e-5 * w.norm().item()
        result.add(f"{row:03}.grad by definition", defined, grad, floor)
    return result


def check_block(tensors: Tensors, meta: Metadata) -> Comparison:
    config = BlockConfig(
        meta["layer"],
        integers(meta["experts"]),
        ranks_of(meta["ranks"]),
        gate_norm=meta["gate_norm"],
        input_ln=meta["input_layer_norm"] == "1",
        bias=meta["bias"] == "1",
    )
    widths = [int(meta[w]) for w in ("input_dim", "hidden_dim", "second_dim")]
    block = MuMoEBlock(config, *widths).double()
    parameters = ("gate.", "gate_norm.", "layer1.", "layer2.", "input_ln.")
    load(block, {k: v for k, v in tensors.items() if k.startswith(parameters)})
    block.train(meta["training"] == "1")

    x = tensors["x"].clone().requires_grad_()
    y, a = block.forward_with_coefficients(x)
    (y * tensors["w"]).sum().backward()

    result = Comparison()
    result.add("y", y, tensors["y"])
    result.add_all("a.", {str(e): a_N for e, a_N in enumerate(a)}, tensors)
    result.add_all("grad.", {"x": x.grad, **gradients(block)}, tensors)
    after = take(tensors, "after.")
    for name, expected in after.items():
        result.add("after." + name, block.state_dict()[name], expected)
    return result


def block_name(name: str, levels: int) -> str:
    """Within a block: the authors' name of a tensor -> the twin's."""

    def factor(match: re.Match[str]) -> str:
        layer = "layer2" if match[1] else "layer1"
        k = int(match[2])
        part = ["input", "output"][k - levels] if k >= levels else f"expert.{k}"
        return f"{layer}.{part}"

    name = re.sub(r"\bprojs\.", "gate.", name)
    name = re.sub(r"\bbn\.", "gate_norm.", name)
    return re.sub(r"\bMuMoE(2?)\.factors\.(\d+)", factor, name)


def gpt2_name(name: str, levels: int) -> str:
    """nanoGPT's name of a parameter -> the twin's."""
    name = name.removeprefix("transformer.")
    name = name.replace("mlp.c_fc.0.", "mlp.ln.")
    name = name.replace("mlp.c_fc.1.", "mlp.c_fc.")
    return block_name(name.replace("MuMoE_layer.", ""), levels)


def rename(
    tensors: Tensors, translate: Callable[[str, int], str], levels: int
) -> Tensors:
    """init.NAME, grad0.NAME and final.NAME by the twin's names."""
    renamed = {}
    for key, value in tensors.items():
        head, dot, tail = key.partition(".")
        if tail != "lm_head.weight":  # tied to wte
            renamed[head + dot + translate(tail, levels)] = value
    return renamed


def check_steps(
    model: nn.Module,
    tensors: Tensors,
    meta: Metadata,
    loss_of: Callable[[int], Tensor],
    decay_vectors: bool,
) -> Comparison:
    """Trains `model` from init.* and compares each step and final.*."""
    load(model, take(tensors, "init."))
    betas = float(meta["beta1"]), float(meta["beta2"])
    eps, decay = float(meta["eps"]), float(meta["weight_decay"])
    optimizer = adamw(model, 0.0, betas, eps, decay, decay_vectors)
    clip = float(meta["clip"])
    result = Comparison()
    for step in range(int(meta["steps"])):
        for group in optimizer.param_groups:
            group["lr"] = tensors["lr"][step].item()
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()
        if step == 0:
            result.add_all("grad0.", gradients(model), tensors)
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        result.add(f"loss[{step}]", loss, tensors["loss"][step])
        result.add(f"grad_norm[{step}]", norm, tensors["grad_norm"][step])
    state = {
        name: value
        for name, value in model.state_dict().items()
        if "num_batches_tracked" not in name
    }
    result.add_all("final.", state, tensors)
    return result


def model_block(
    meta: Metadata, rank: int, gate_norm: str, input_ln: bool
) -> BlockConfig | None:
    if meta["layer"] == "dense":
        return None
    experts = integers(meta["experts"])
    ranks = (rank,)
    if meta["layer"] == "tr":  # the other ring ranks are 4, as published
        ranks = (4,) * (len(experts) + 1) + ranks
    return BlockConfig(
        meta["layer"], experts, ranks, gate_norm=gate_norm, input_ln=input_ln
    )


def levels_of(block: BlockConfig | None) -> int:
    return 0 if block is None else len(block.experts)


def check_gpt2(tensors: Tensors, meta: Metadata) -> Comparison:
    config = GPT2Config(
        vocab=int(meta["vocab_size"]),
        context=int(meta["block_size"]),
        depth=int(meta["n_layer"]),
        heads=int(meta["n_head"]),
        width=int(meta["n_embd"]),
        block=model_block(meta, int(meta["rank"]), "ln", True),
        bias="init.transformer.ln_f.bias" in tensors,
    )
    model = GPT2(config).double()

    def loss_of(step: int) -> Tensor:
        tokens = tensors["tokens"][step]
        return cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])

    renamed = rename(tensors, gpt2_name, levels_of(config.block))
    return check_steps(model, renamed, meta, loss_of, decay_vectors=False)


def check_mixer(tensors: Tensors, meta: Metadata) -> Comparison:
    token_rank, channel_rank = (
        int(meta[name]) for name in ("token_rank", "channel_rank")
    )
    config = MixerConfig(
        image_size=int(meta["image_size"]),
        patch_size=int(meta["patch_size"]),
        channels=int(meta["channels"]),
        classes=int(meta["classes"]),
        depth=int(meta["depth"]),
        width=int(meta["dim"]),
        token_hidden=int(meta["token_hidden"]),
        channel_hidden=int(meta["channel_hidden"]),
        token_block=model_block(meta, token_rank, "bn", False),
        channel_block=model_block(meta, channel_rank, "bn", False),
    )
    model = Mixer(config).double()
    images, labels = tensors["images"], tensors["labels"]

    def loss_of(step: int) -> Tensor:
        return cross_entropy(model(images[step]), labels[step])

    renamed = rename(tensors, block_name, levels_of(config.token_block))
    result = check_steps(model, renamed, meta, loss_of, decay_vectors=True)
    model.eval()
    with torch.no_grad():
        result.add("eval_logits", model(images[0]), tensors["eval_logits"])
    return result


CHECKS = {
    "block_": check_block,
    "entmax15": check_entmax15,
    "gpt2_": check_gpt2,
    "mixer_": check_mixer,
}


def check_file(
    path: Path, check: Callable[[Tensors, Metadata], Comparison]
) -> bool:
    name = path.stem
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        result = check(tensors, meta)
    except (ValueError, KeyError, RuntimeError) as error:
        print(f"FAIL  {name}: {error!r}")
        return False
    good = result.error <= TOLERANCE
    print(
        f"{'ok' if good else 'FAIL':5} {name}: {result.count} comparisons, "
        f"worst {result.error:.2e} ({result.worst})"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="twin against golden tensors")
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    good = [
        check_file(path, check)
        for prefix, check in CHECKS.items()
        for path in sorted(directory.glob(f"{prefix}*.safetensors"))
    ]
    if not good:
        print(f"FAIL  {directory}: no fixture {', '.join(CHECKS)}")
        return 1
    print(f"{sum(good)} of {len(good)} passed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
