"""Compares the twin's layers, in fp64, with the experts written out in full.

    python check_twin.py

For every form and 1 to 4 levels, with and without bias: builds the expert
tensor W [N_1, ..., N_E, I(+1), O] entry by entry of its factors, and compares
y = sum_n a_n W_n^T z'. Also checks the gate activations, the entmax of
PyTorch's own operators and how the weights start. Prints one line a check and exits with 1 if one fails.
"""

import itertools
import sys

import torch
from entmax import entmax15
from torch import Tensor, nn

from entmax_cuda import entmax15 as own_entmax15
from twin import KINDS, BlockConfig, MuMoEBlock, top_k_softmax

I, O, T = 5, 4, 7
RANKS = {
    "cp": lambda E: (6,),
    "tr": lambda E: (2, 3, 2, 4, 3, 2)[: E + 2],
    "tt": lambda E: (1, 3, 2, 4, 3, 2)[: E + 2],
    "tucker": lambda E: (2, 3, 4, 2, 3, 2)[-(E + 2) :],
}


def expert_matrix(
    layer: nn.Module, kind: str, index: tuple[int, ...]
) -> Tensor:
    """W[index] as [I(+1), O], by the definitions of the decompositions."""
    factors = list(zip(layer.expert, index))
    if kind == "cp":
        scale = torch.ones(()).double()
        for U_NR, n in factors:
            scale = scale * U_NR[n]
        return torch.einsum("r,ir,or->io", scale, layer.input, layer.output)
    if kind == "tucker":
        core = layer.core
        for U_NK, n in factors:
            core = torch.tensordot(U_NK[n], core, dims=([0], [0]))
        return layer.input @ core @ layer.output.t()
    product = torch.eye(layer.output.shape[2]).double()
    for U_rNs, n in factors:
        product = product @ U_rNs[:, n, :]
    return torch.einsum("rt,tiu,uor->io", product, layer.input, layer.output)


def layer_error(kind: str, levels: int, bias: bool) -> float:
    experts = (3, 4, 2, 3)[:levels]
    config = BlockConfig(kind, experts, RANKS[kind](levels), bias=bias)
    layer = MuMoEBlock(config, I, O, 0).double().layer1
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    z = torch.randn(T, I, dtype=torch.double)
    a = [torch.rand(T, n, dtype=torch.double) for n in experts]
    folded = torch.cat([z, torch.ones_like(z[:, :1])], 1) if bias else z
    expected = torch.zeros(T, O, dtype=torch.double)
    for index in itertools.product(*map(range, experts)):
        coefficient = torch.ones(T, 1, dtype=torch.double)
        for a_TN, n in zip(a, index):
            coefficient = coefficient * a_TN[:, n, None]
        matrix = expert_matrix(layer, kind, index)
        expected += coefficient * (folded @ matrix)
    return ((layer(z, a) - expected).norm() / expected.norm()).item()


def activation_error() -> float:
    logits = torch.tensor([[1.0, 3.0, 2.0, -1.0]])
    found = top_k_softmax(logits, 2)
    kept = torch.tensor([3.0, 2.0]).softmax(0)
    expected = torch.tensor([[0.0, kept[0], kept[1], 0.0]])
    return (found - expected).abs().max().item()


def entmax_error() -> float:
    """Values and gradients of entmax_cuda, against the package's."""
    worst = 0.0
    for width, scale in itertools.product((1, 2, 7, 256), (0.01, 1, 50)):
        x = (scale * torch.randn(99, width).double()).requires_grad_()
        upstream = torch.randn_like(x)
        found, expected = (f(x, dim=-1) for f in (own_entmax15, entmax15))
        of_x, of_x_expected = (
            torch.autograd.grad(y, x, upstream)[0] for y in (found, expected)
        )
        for difference in (found - expected, of_x - of_x_expected):
            worst = max(worst, difference.abs().max().item())
    return worst


def start_error(kind: str, level_noise: float) -> float:
    """How far the statistics of fresh weights are from what they should be."""
    ranks = {
        "cp": (64,),
        "tr": (4, 6, 5, 7),
        "tt": (1, 6, 5, 7),
        "tucker": (64, 64, 5, 6),
    }
    experts = (2000, 2000)
    config = BlockConfig(kind, experts, ranks[kind], level_noise=level_noise)
    layer = MuMoEBlock(config, 400, 300, 0).layer1
    errors = []
    for factor, sigma in zip(layer.expert, (1.0, level_noise)):
        if kind in ("tr", "tt"):  # its diagonal; the rest is zero
            factor = factor.transpose(1, 2)  # [r, s, N]
            diagonal = torch.eye(*factor.shape[:2]) == 1
            errors.append(factor[~diagonal].abs().sum())
            factor = factor[diagonal]
        errors.append(factor.mean() - 1)
        errors.append(factor.std() - sigma)
    last = layer.output  # its fan-in is all but the output dim
    fan_in = last.numel() / 300
    for weight, fan in ((layer.input, 400), (last, fan_in)):
        errors.append(weight.abs().max() * fan**0.5 - 1)
    if kind == "tucker":
        errors.append(layer.core.norm() - 1)
    return max(abs(error.item()) for error in errors)


def report(name: str, error: float, tolerance: float) -> bool:
    good = error <= tolerance
    print(f"{'ok' if good else 'FAIL':5} {name}: {error:.2e}")
    return good


def main() -> int:
    torch.manual_seed(1)
    good = [report("top_k", activation_error(), 1e-7)]
    good.append(report("entmax_cuda", entmax_error(), 1e-12))
    for kind in KINDS:
        for levels in (1, 2, 3, 4):
            errors = [layer_error(kind, levels, bias) for bias in (True, False)]
            name = f"{kind}, {levels} levels, against its experts"
            good.append(report(name, max(errors), 1e-12))
        for level_noise in (0.0, 0.5):
            name = f"{kind}, start, level_noise {level_noise}"
            good.append(report(name, start_error(kind, level_noise), 0.05))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
