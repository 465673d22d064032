"""Writes further block_* golden files, made by the twin in fp64.

    python make_blocks.py DIR [--count 64] [--seed 1]
    python make_blocks.py DIR --default

The first form draws forms, sizes, norms and weights at random; file number i
depends on the seed and on i alone. --default writes the small set that is in
tests/golden. Weights are far from where training starts, so that coefficients
of every level are sparse and uneven. The format is that of tests/golden.
"""

import argparse
import copy
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from twin import BlockConfig, MuMoEBlock

# No logit is this near to where its expert's coefficient becomes zero, so that
# fp32 finds the same experts at zero as fp64.
MARGIN = 1e-3
FP32_ERROR = 1e-5  # relative; the project's tests allow 1e-4
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    name: str
    block: BlockConfig
    inputs: int
    hidden: int
    second: int  # 0: a single layer
    batch: tuple[int, int] = (3, 5)
    training: bool = True


def default_cases() -> list[Case]:
    def block(kind: str, experts: tuple, ranks: tuple, **rest) -> BlockConfig:
        return BlockConfig(kind, experts, ranks, **{"input_ln": True, **rest})

    return [
        Case("tucker_ln", block("tucker", (16,), (4, 6, 5)), 13, 20, 9),
        Case(
            "tucker_bn_train",
            block("tucker", (9,), (3, 5, 4), gate_norm="bn", input_ln=False),
            10,
            15,
            10,
        ),
        Case(
            "tucker_h3",
            block("tucker", (6, 4, 3), (3, 2, 4, 5, 3), bias=False),
            9,
            15,
            8,
        ),
        Case("tt_ln", block("tt", (16,), (1, 4, 5)), 13, 20, 9),
        Case("tt_h2", block("tt", (6, 5), (1, 3, 2, 6)), 9, 15, 8),
        Case("cp_h4", block("cp", (5, 4, 3, 4), (8,)), 9, 15, 8),
        Case("tr_h3", block("tr", (6, 4, 3), (3, 2, 4, 2, 5)), 9, 15, 8),
        Case("cp_none", block("cp", (12,), (7,), gate_norm="none"), 11, 14, 6),
    ]


def random_ranks(
    draw: random.Random, kind: str, levels: int
) -> tuple[int, ...]:
    if kind == "cp":
        return (draw.randint(1, 12),)
    if kind == "tucker":
        core = [draw.randint(1, 4) for _ in range(levels)]
        return (*core, draw.randint(1, 8), draw.randint(1, 8))
    ring = [draw.randint(1, 4) for _ in range(levels + 1)]
    if kind == "tt":
        ring[0] = 1
    return (*ring, draw.randint(1, 7))


def random_case(index: int, seed: int) -> Case:
    """Every 16 files in a row hold each form with each number of levels."""
    draw = random.Random(f"{seed} {index}")
    kind = ("cp", "tr", "tt", "tucker")[index % 4]
    levels = index // 4 % 4 + 1
    most = 24 if levels == 1 else 8
    block = BlockConfig(
        kind,
        tuple(draw.randint(3, most) for _ in range(levels)),
        random_ranks(draw, kind, levels),
        gate_norm=draw.choice(("ln", "bn", "none")),
        input_ln=draw.random() < 0.5,
        bias=draw.random() < 0.7,
    )
    return Case(
        f"{kind}_h{levels}_{block.gate_norm}_{seed}_{index:03}",
        block,
        inputs=draw.randint(4, 24),
        hidden=draw.randint(3, 32),
        second=draw.randint(1, 24) if draw.random() < 0.75 else 0,
        batch=(draw.randint(2, 4), draw.randint(4, 8)),
        training=block.gate_norm != "bn" or draw.random() < 0.7,
    )


@torch.no_grad()
def randomise(block: MuMoEBlock) -> None:
    """Weights and running statistics that nothing can mistake for others.

    Output and hidden layer have a variance of about 1 for an input of 1.
    """
    config = block.config
    for G in block.gate:
        G.normal_(0, 1.5 * G.shape[0] ** -0.5)
    for norm in block.gate_norm:
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
    if block.input_ln is not None:
        block.input_ln.weight.normal_(1, 0.3)
        block.input_ln.bias.normal_(0, 0.3)
    for layer in (block.layer1, block.layer2):
        if layer is None:
            continue
        for e, factor in enumerate(layer.expert):
            factor.normal_()
            if config.kind in ("tr", "tt"):
                factor.mul_(factor.shape[-1] ** -0.5)
            elif config.kind == "tucker":
                factor.mul_(config.ranks[e] ** -0.5)
        input_dim = 1 if config.kind in ("tr", "tt") else 0
        layer.input.normal_(0, layer.input.shape[input_dim] ** -0.5)
        rank = config.ranks[-1]
        if config.kind in ("tr", "tt"):
            rank *= config.ranks[0]
        layer.output.normal_(0, rank**-0.5)
        if config.kind == "tucker":
            layer.core.normal_(0, config.ranks[-2] ** -0.5)


def clear_cut(logits_N: Tensor, a_N: Tensor) -> bool:
    """Whether a level's coefficients are sparse, uneven and not on an edge.

    An active expert has a_n = (logit_n / 2 - tau)^2, which gives tau.
    """
    x_TN, a_TN = logits_N.flatten(0, -2) / 2, a_N.flatten(0, -2)
    largest = a_TN.max(dim=-1, keepdim=True)
    tau_T1 = x_TN.gather(-1, largest.indices) - largest.values.sqrt()
    if (x_TN - tau_T1).abs().min() < MARGIN:
        return False
    active_T = (a_TN > 0).sum(dim=-1)
    rows = active_T.numel()
    sparse = (active_T < a_TN.shape[-1]).sum() >= rows / 3
    mixed = (active_T > 1).sum() >= rows / 3
    return bool(sparse and mixed)


def without_counters(state: Tensors) -> Tensors:
    return {k: v for k, v in state.items() if "num_batches_tracked" not in k}


def results_of(block: MuMoEBlock, x: Tensor, w: Tensor) -> Tensors:
    """What a file expects of a block: one forward and backward."""
    block = copy.deepcopy(block)  # a forward moves the running statistics
    x = x.clone().requires_grad_()
    y, a = block.forward_with_coefficients(x)
    (y * w).sum().backward()
    results = {"y": y, "grad.x": x.grad}
    results |= {f"a.{e}": a_N for e, a_N in enumerate(a)}
    for name, parameter in block.named_parameters():
        results["grad." + name] = parameter.grad
    if block.training:
        for name, value in without_counters(block.state_dict()).items():
            if name.startswith("gate_norm."):
                results["after." + name] = value
    return {k: v.detach().contiguous() for k, v in results.items()}


def well_conditioned(double: Tensors, single: Tensors) -> bool:
    """Whether fp32 finds the same: rounding errors do not grow on the way."""
    for name, expected in double.items():
        error = (single[name] - expected).norm()
        if not error <= FP32_ERROR * expected.norm():
            return False
    return True


def tensors_of(case: Case) -> Tensors:
    """A block, its input and its results; drawn until they make a good test."""
    block = MuMoEBlock(case.block, case.inputs, case.hidden, case.second)
    block = block.double().train(case.training)
    for _ in range(1000):
        randomise(block)
        x = torch.randn(*case.batch, case.inputs, dtype=torch.double)
        w = torch.randn(
            *case.batch, case.second or case.hidden, dtype=torch.double
        )
        with torch.no_grad():
            logits = copy.deepcopy(block).logits(x)
        results = results_of(block, x, w)
        pairs = [(l_N, results[f"a.{e}"]) for e, l_N in enumerate(logits)]
        if not all(clear_cut(l_N, a_N) for l_N, a_N in pairs):
            continue
        single = results_of(copy.deepcopy(block).float(), x.float(), w.float())
        if well_conditioned(results, single):
            state = without_counters(block.state_dict())
            return {**state, "x": x, "w": w, **results}
    raise SystemExit(f"{case.name}: no good test in 1000 draws")


def ranks_text(config: BlockConfig) -> str:
    """A ring as the authors' files have it: [[r, 0, s], [s, 0, t], ...]."""
    ranks = config.ranks
    if config.kind == "tr":
        right = ranks[1:] + ranks[:1]
        return str([[r, 0, s] for r, s in zip(ranks, right)])
    return ",".join(map(str, ranks))


def metadata_of(case: Case, seed: int) -> dict[str, str]:
    config = case.block
    return {
        "kind": "block",
        "layer": config.kind,
        "input_dim": str(case.inputs),
        "hidden_dim": str(case.hidden),
        "second_dim": str(case.second),
        "experts": ",".join(map(str, config.experts)),
        "ranks": ranks_text(config),
        "gate_norm": config.gate_norm,
        "input_layer_norm": str(int(config.input_ln)),
        "training": str(int(case.training)),
        "bias": str(int(config.bias)),
        "seed": str(seed),
    }


def write(case: Case, folder: Path, seed: int) -> None:
    path = folder / f"block_{case.name}.safetensors"
    save_file(tensors_of(case), path, metadata_of(case, seed))
    path.chmod(0o644)
    print(path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description="block fixtures by the twin")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--default", action="store_true")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums in one order
    seed = options.seed
    cases = (
        default_cases()
        if options.default
        else [random_case(index, seed) for index in range(options.count)]
    )
    for index, case in enumerate(cases):
        torch.manual_seed(1_000_003 * seed + index)
        write(case, options.directory, seed)


if __name__ == "__main__":
    main()
