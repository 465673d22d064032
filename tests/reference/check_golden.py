"""Compares the twin, in fp64, with a directory of golden tensors.

    python check_golden.py DIR

Reads every block_* (cp, tr) and gpt2_* file, prints one line per file and
exits with 1 if any of them differs by more than 1e-9 relative (Frobenius).
"""

import argparse
import ast
import math
import re
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from twin import GPT2, GPT2Config, MuMoEBlock, adamw, cross_entropy

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


def check_block(tensors: Tensors, meta: Metadata) -> Comparison:
    rank: int | tuple[int, ...]
    if meta["layer"] == "cp":
        rank = int(meta["ranks"])
    else:  # [[r, 0, s], [s, 0, t], ...]: the left rank of each core
        rank = tuple(core[0] for core in ast.literal_eval(meta["ranks"]))
    block = MuMoEBlock(
        meta["layer"],
        int(meta["input_dim"]),
        int(meta["hidden_dim"]),
        int(meta["second_dim"]),
        integers(meta["experts"]),
        rank,
        meta["gate_norm"],
        meta["input_layer_norm"] == "1",
        meta["bias"] == "1",
    ).double()
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


def twin_name(name: str, levels: int) -> str:
    """nanoGPT's name of a parameter -> the twin's."""

    def factor(match: re.Match[str]) -> str:
        layer = "layer2" if match[1] else "layer1"
        k = int(match[2])
        part = ["input", "output"][k - levels] if k >= levels else f"expert.{k}"
        return f"{layer}.{part}"

    name = name.removeprefix("transformer.")
    name = name.replace("mlp.c_fc.0.", "mlp.ln.")
    name = name.replace("mlp.c_fc.1.", "mlp.c_fc.")
    name = name.replace("MuMoE_layer.projs.", "gate.")
    name = name.replace("MuMoE_layer.input_ln.", "input_ln.")
    return re.sub(r"MuMoE_layer\.MuMoE(2?)\.factors\.(\d+)", factor, name)


def check_gpt2(tensors: Tensors, meta: Metadata) -> Comparison:
    experts = integers(meta["experts"]) if meta["layer"] != "dense" else ()
    rank: int | tuple[int, ...] = int(meta["rank"])
    if meta["layer"] == "tr":  # the other ring ranks are 4, as published
        rank = (4,) * (len(experts) + 1) + (rank,)
    config = GPT2Config(
        vocab=int(meta["vocab_size"]),
        context=int(meta["block_size"]),
        depth=int(meta["n_layer"]),
        heads=int(meta["n_head"]),
        width=int(meta["n_embd"]),
        mlp=meta["layer"],
        experts=experts,
        rank=rank,
        bias="init.transformer.ln_f.bias" in tensors,
    )
    renamed = {}
    for key, value in tensors.items():
        head, dot, tail = key.partition(".")
        if tail != "lm_head.weight":  # tied to wte
            renamed[head + dot + twin_name(tail, len(experts))] = value
    model = GPT2(config).double()
    load(model, take(renamed, "init."))
    optimizer = adamw(
        model,
        0.0,
        (float(meta["beta1"]), float(meta["beta2"])),
        float(meta["eps"]),
        float(meta["weight_decay"]),
    )

    result = Comparison()
    for step, tokens in enumerate(tensors["tokens"]):
        for group in optimizer.param_groups:
            group["lr"] = tensors["lr"][step].item()
        optimizer.zero_grad()
        loss = cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
        loss.backward()
        if step == 0:
            result.add_all("grad0.", gradients(model), renamed)
        norm = nn.utils.clip_grad_norm_(
            model.parameters(), float(meta["clip"])
        )
        optimizer.step()
        result.add(f"loss[{step}]", loss, tensors["loss"][step])
        result.add(f"grad_norm[{step}]", norm, tensors["grad_norm"][step])
    result.add_all("final.", dict(model.named_parameters()), renamed)
    return result


def check_file(path: Path) -> bool:
    with safe_open(path, "pt") as file:
        meta = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    name = path.stem
    kinds = ("cp", "tr") if name.startswith("block_") else ("cp", "tr", "dense")
    if meta["layer"] not in kinds:
        print(f"skip  {name}: the twin has no {meta['layer']}")
        return True
    check = check_block if name.startswith("block_") else check_gpt2
    try:
        result = check(tensors, meta)
    except (ValueError, KeyError, RuntimeError) as error:
        print(f"FAIL  {name}: {error}")
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
    paths = sorted(
        path
        for pattern in ("block_*.safetensors", "gpt2_*.safetensors")
        for path in directory.glob(pattern)
    )
    if not paths:
        print(f"FAIL  {directory}: no block_* or gpt2_* fixture")
        return 1
    good = [check_file(path) for path in paths]
    print(f"{sum(good)} of {len(good)} passed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
