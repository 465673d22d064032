"""entmax-1.5 of PyTorch's own operators, which torch.compile can see through.

In place of the package entmax where there is PyTorch alone; "Sparse
Sequence-to-Sequence Models" (arXiv 1905.05702), section 3.
"""

from typing import Any

import torch
from torch import Tensor


class Entmax15(torch.autograd.Function):
    """a = [x / 2 - tau]_+^2, with tau such that each row sums to 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        z = (x - x.amax(dim=-1, keepdim=True)) / 2
        ordered = z.sort(dim=-1, descending=True).values
        count = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
        # Of the largest k: mean m and mean square q. tau solves
        # k (q - 2 m tau + tau^2) = 1.
        mean = ordered.cumsum(dim=-1) / count
        square = ordered.square().cumsum(dim=-1) / count
        under = (mean.square() - square + 1 / count).clamp(min=0)
        tau = mean - under.sqrt()
        active = (tau <= ordered).sum(dim=-1, keepdim=True)
        root = (z - tau.gather(-1, active - 1)).clamp(min=0)
        ctx.save_for_backward(root)
        return root.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """da = s (g - <s, g> / <s, 1>), s = sqrt(a)."""
        (root,) = ctx.saved_tensors
        scaled = root * grad
        share = scaled.sum(-1, keepdim=True) / root.sum(-1, keepdim=True)
        return scaled - share * root


def entmax15(x: Tensor, dim: int = -1) -> Tensor:
    if dim not in (-1, x.dim() - 1):
        raise ValueError(f"dim {dim}: expected the last")
    return Entmax15.apply(x)
