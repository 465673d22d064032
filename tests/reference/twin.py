"""Eager PyTorch twin of the μMoE layer: an oracle and a benchmark peer.

Written from the mathematics of "Multilinear Mixture of Experts"
(arXiv 2402.12550). It favours being obviously right over being fast.
twin_models.py has the models that are built of it.

Shape letters: I inputs, H hidden, O outputs, N experts of one level, E levels,
R CP rank, r/s/t/u tensor-ring ranks, K Tucker ranks.
A leading "..." stands for any batch dims, [B, T] in practice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from entmax import entmax15
from torch import Tensor, nn

KINDS = ("cp", "tr", "tt", "tucker")
GATE_NORMS = ("ln", "bn", "none")
ACTIVATIONS = ("entmax15", "softmax", "top_k")


@dataclass(frozen=True)
class BlockConfig:
    """What a block is made of, whatever its widths.

    `ranks` are (R,) for CP; one rank a core, E + 2 of them, for TR, and for TT,
    whose first is 1; (K_1, ..., K_E, K_I, K_O) for Tucker. Both layers of a
    block have the same.
    """

    kind: str
    experts: tuple[int, ...]  # of each level
    ranks: tuple[int, ...]
    gate_norm: str = "ln"
    activation: str = "entmax15"
    top_k: int = 0  # experts kept by the activation top_k
    # Expert factors of levels >= 2 start at N(1, level_noise^2). As published
    # it is 0, from where those levels cannot start to specialise.
    level_noise: float = 0.0
    input_ln: bool = False
    bias: bool = True  # folded bias rows of the input factors

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind}: expected one of {KINDS}")
        if self.gate_norm not in GATE_NORMS:
            raise ValueError(f"gate norm {self.gate_norm}: {GATE_NORMS}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation}: {ACTIVATIONS}")
        expected = 1 if self.kind == "cp" else len(self.experts) + 2
        if len(self.ranks) != expected:
            raise ValueError(f"{self.ranks}: {self.kind} has {expected} ranks")
        if self.kind == "tt" and self.ranks[0] != 1:
            raise ValueError(f"{self.ranks}: the first rank of a train is 1")
        if self.activation == "top_k":
            if not 1 <= self.top_k <= min(self.experts):
                raise ValueError(f"top_k {self.top_k} of {self.experts}")


def uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def around_one(level: int, level_noise: float, *shape: int) -> Tensor:
    """Where expert factors start: one shared layer, so N(1, sigma^2).

    Only the first level is perturbed, unless `level_noise` says otherwise.
    """
    sigma = 1.0 if level == 0 else level_noise
    return 1 + sigma * torch.randn(*shape) if sigma else torch.ones(*shape)


def affine(z: Tensor, weight: Tensor, bias: bool) -> Tensor:
    """[z; 1] @ weight, where the last row of `weight` is the folded bias."""
    if not bias:
        return z @ weight
    return F.linear(z, weight[:-1].t(), weight[-1])


class CPLayer(nn.Module):
    """y = U3 [ (prod_e U_e^T a_e) * (U2^T [z; 1]) ], eq. 2."""

    def __init__(self, config: BlockConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = config.bias
        (rank,) = config.ranks
        self.expert = nn.ParameterList(
            nn.Parameter(around_one(e, config.level_noise, n, rank))
            for e, n in enumerate(config.experts)
        )
        self.input = uniform(inputs**-0.5, inputs + self.bias, rank)
        self.output = uniform(rank**-0.5, outputs, rank)

    def forward(self, z: Tensor, a: list[Tensor]) -> Tensor:
        hidden = affine(z, self.input, self.bias)
        for a_N, U_NR in zip(a, self.expert):
            hidden = hidden * (a_N @ U_NR)
        return hidden @ self.output.t()


class TRLayer(nn.Module):
    """y_o = tr( F_1 ... F_E F_z U3[:, o, :] ), eq. 3; the ranks close the ring.

    Core e is [ranks[e], N_e, ranks[e+1]]; then come the input core and the
    output core, whose last rank is ranks[0]. With ranks[0] = 1 it is a
    tensor train.
    """

    def __init__(self, config: BlockConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = config.bias
        ranks = config.ranks
        self.expert = nn.ParameterList()
        for e, n in enumerate(config.experts):
            r, s = ranks[e], ranks[e + 1]
            eye = torch.eye(r, s)[:, None, :]
            start = eye * around_one(e, config.level_noise, r, n, s)
            self.expert.append(nn.Parameter(start))
        r, t, u = ranks[0], ranks[-2], ranks[-1]
        self.input = uniform(inputs**-0.5, t, inputs + self.bias, u)
        self.output = uniform((u * r) ** -0.5, u, outputs, r)

    def forward(self, z: Tensor, a: list[Tensor]) -> Tensor:
        t, _, u = self.input.shape
        r = self.output.shape[2]
        core = self.input.transpose(0, 1).flatten(1)  # [I+1, t*u]
        ring = affine(z, core, self.bias).unflatten(-1, (t, u))
        for a_N, U_rNs in reversed(list(zip(a, self.expert))):
            ring = torch.einsum("...n,rns->...rs", a_N, U_rNs) @ ring
        out = self.output.permute(2, 0, 1).reshape(r * u, -1)  # [r*u, O]
        return ring.flatten(-2) @ out


class TuckerLayer(nn.Module):
    """y = U_O [ core x_1 (U_1^T a_1) ... x_E (U_E^T a_E) x (U_I^T [z; 1]) ].

    The core is [K_1, ..., K_E, K_I, K_O].
    """

    def __init__(self, config: BlockConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = config.bias
        *levels, rank_i, rank_o = config.ranks
        self.expert = nn.ParameterList(
            nn.Parameter(around_one(e, config.level_noise, n, levels[e]))
            for e, n in enumerate(config.experts)
        )
        core = torch.randn(config.ranks)
        self.core = nn.Parameter(core / core.norm())
        self.input = uniform(inputs**-0.5, inputs + self.bias, rank_i)
        self.output = uniform(rank_o**-0.5, outputs, rank_o)

    def forward(self, z: Tensor, a: list[Tensor]) -> Tensor:
        # The input first: it leaves one [K_1, ..., K_E, K_O] a token.
        *levels, _, rank_o = self.core.shape
        core = self.core.movedim(-2, 0).flatten(1)  # [K_I, K_1*...*K_E*K_O]
        mixed = affine(z, self.input, self.bias) @ core
        for k, a_N, U_NK in zip(levels, a, self.expert):
            rows = mixed.unflatten(-1, (k, -1))
            mixed = ((a_N @ U_NK).unsqueeze(-2) @ rows).squeeze(-2)
        return mixed @ self.output.t()


LAYERS: dict[str, type[CPLayer | TRLayer | TuckerLayer]] = {
    "cp": CPLayer,
    "tr": TRLayer,
    "tt": TRLayer,
    "tucker": TuckerLayer,
}


def top_k_softmax(logits: Tensor, k: int) -> Tensor:
    """Softmax over the k largest logits of each row; zeros elsewhere."""
    values, indices = logits.topk(k, dim=-1)
    zeros = torch.zeros_like(logits)
    return zeros.scatter(-1, indices, values.softmax(dim=-1))


class MuMoEBlock(nn.Module):
    """Gate once, then one factorised layer, or two with a GELU between them.

    The gate sees x itself; the experts see LN(x) where the configuration has
    `input_ln`. `second` = 0 makes a single layer. Parameter names are those of
    the golden files.
    """

    def __init__(
        self, config: BlockConfig, inputs: int, hidden: int, second: int
    ) -> None:
        super().__init__()
        self.config = config
        self.gate = nn.ParameterList(
            nn.Parameter(torch.zeros(inputs, n)) for n in config.experts
        )
        self.gate_norm = nn.ModuleList()
        if config.gate_norm == "bn":
            for n in config.experts:
                self.gate_norm.append(nn.BatchNorm1d(n, affine=False))
        self.input_ln = nn.LayerNorm(inputs) if config.input_ln else None
        layer = LAYERS[config.kind]
        self.layer1 = layer(config, inputs, hidden)
        self.layer2 = layer(config, hidden, second) if second else None

    def logits(self, x: Tensor) -> list[Tensor]:
        """norm(x G_e), one [..., N_e] per level."""
        result = []
        for e, G in enumerate(self.gate):
            logits = x @ G
            if logits.dtype is torch.bfloat16:  # norm and entmax stay in fp32
                logits = logits.float()
            if self.config.gate_norm == "ln":
                logits = F.layer_norm(logits, logits.shape[-1:])
            elif self.config.gate_norm == "bn":  # over batch and tokens
                rows = logits.flatten(0, -2)
                logits = self.gate_norm[e](rows).view_as(logits)
            result.append(logits)
        return result

    def activate(self, logits: Tensor) -> Tensor:
        if self.config.activation == "softmax":
            return logits.softmax(dim=-1)
        if self.config.activation == "top_k":
            return top_k_softmax(logits, self.config.top_k)
        return entmax15(logits, dim=-1)

    def coefficients(self, x: Tensor) -> list[Tensor]:
        """One [..., N_e] per level: a_e = activation(norm(x G_e))."""
        return [self.activate(logits) for logits in self.logits(x)]

    def forward_with_coefficients(
        self, x: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        a = self.coefficients(x)
        z = x if self.input_ln is None else self.input_ln(x)
        y = self.layer1(z, a)
        if self.layer2 is not None:
            y = self.layer2(F.gelu(y), a)
        return y, a

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_coefficients(x)[0]
