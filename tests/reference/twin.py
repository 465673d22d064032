"""Eager PyTorch twin of the project's models: an oracle and a benchmark peer.

Written from the mathematics of "Multilinear Mixture of Experts"
(arXiv 2402.12550). It favours being obviously right over being fast.

Shape letters: B batch, T tokens, C width, I inputs, H hidden, O outputs,
N experts of one level, R CP rank, r/s/t/u tensor-ring ranks.
A leading "..." stands for any batch dims, [B, T] in practice.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from entmax import entmax15
from torch import Tensor, nn


def uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def affine(z: Tensor, weight: Tensor, bias: bool) -> Tensor:
    """[z; 1] @ weight, where the last row of `weight` is the folded bias."""
    if not bias:
        return z @ weight
    return F.linear(z, weight[:-1].t(), weight[-1])


class CPLayer(nn.Module):
    """y = U3 [ (prod_e U_e^T a_e) * (U2^T [z; 1]) ], eq. 2."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        experts: tuple[int, ...],
        rank: int,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.bias = bias
        # Every expert starts as one shared linear layer; only the first level
        # is perturbed. Further levels start at exactly one.
        self.expert = nn.ParameterList(
            [nn.Parameter(torch.ones(n, rank)) for n in experts]
        )
        with torch.no_grad():
            self.expert[0].add_(torch.randn_like(self.expert[0]))
        self.input = uniform(inputs**-0.5, inputs + bias, rank)
        self.output = uniform(rank**-0.5, outputs, rank)

    def forward(self, z: Tensor, a: list[Tensor]) -> Tensor:
        hidden = affine(z, self.input, self.bias)
        for a_N, U_NR in zip(a, self.expert):
            hidden = hidden * (a_N @ U_NR)
        return hidden @ self.output.t()


class TRLayer(nn.Module):
    """y_o = tr( F_1 ... F_E F_z U3[:, o, :] ), eq. 3; `ranks` close the ring.

    Core e is [ranks[e], N_e, ranks[e+1]]; then come the input core and the
    output core, whose last rank is ranks[0]. With ranks[0] = 1 it is a
    tensor train.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        experts: tuple[int, ...],
        ranks: tuple[int, ...],
        bias: bool = True,
    ) -> None:
        super().__init__()
        assert len(ranks) == len(experts) + 2, "one rank per core"
        self.bias = bias
        cores = []
        for e, n in enumerate(experts):
            r, s = ranks[e], ranks[e + 1]
            eye = torch.eye(r, s)[:, None, :].expand(r, n, s)
            noise = 1 + torch.randn(r, n, s) if e == 0 else torch.ones(r, n, s)
            cores.append(nn.Parameter(eye * noise))
        self.expert = nn.ParameterList(cores)
        r, t, u = ranks[0], ranks[-2], ranks[-1]
        self.input = uniform(inputs**-0.5, t, inputs + bias, u)
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


class MuMoEBlock(nn.Module):
    """Gate once, then one factorised layer, or two with a GELU between them.

    The gate sees x itself; the experts see LN(x) when `input_ln` is set.
    `rank` is an int for CP and the tuple of ring ranks for TR. `second` = 0
    makes a single layer. Parameter names are those of the golden files.
    """

    def __init__(
        self,
        kind: str,
        inputs: int,
        hidden: int,
        second: int,
        experts: tuple[int, ...],
        rank: int | tuple[int, ...],
        gate_norm: str = "ln",
        input_ln: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        assert kind in ("cp", "tr") and gate_norm in ("ln", "bn", "none")
        layer = CPLayer if kind == "cp" else TRLayer
        self.norm_kind = gate_norm
        self.gate = nn.ParameterList(
            [nn.Parameter(torch.zeros(inputs, n)) for n in experts]
        )
        self.gate_norm = nn.ModuleList(
            [nn.BatchNorm1d(n, affine=False) for n in experts]
            if gate_norm == "bn"
            else []
        )
        self.input_ln = nn.LayerNorm(inputs) if input_ln else None
        self.layer1 = layer(inputs, hidden, experts, rank, bias)
        self.layer2 = (
            layer(hidden, second, experts, rank, bias) if second else None
        )

    def coefficients(self, x: Tensor) -> list[Tensor]:
        """One [..., N_e] per level: a_e = entmax15(norm(x G_e))."""
        result = []
        for e, G in enumerate(self.gate):
            logits = x @ G
            if logits.dtype is torch.bfloat16:  # norm and entmax stay in fp32
                logits = logits.float()
            if self.norm_kind == "ln":
                logits = F.layer_norm(logits, logits.shape[-1:])
            elif self.norm_kind == "bn":  # statistics over batch and tokens
                rows = logits.flatten(0, -2)
                logits = self.gate_norm[e](rows).view_as(logits)
            result.append(entmax15(logits, dim=-1))
        return result

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


@dataclass
class GPT2Config:
    vocab: int
    context: int
    depth: int
    heads: int
    width: int
    mlp: str = "cp"  # dense | cp | tr
    experts: tuple[int, ...] = (64,)
    rank: int | tuple[int, ...] = 0  # as in MuMoEBlock; unused by dense
    gate_norm: str = "ln"
    bias: bool = False  # linear layers and norms
    expert_bias: bool = True  # folded bias rows of the factors


class DenseMLP(nn.Module):
    """Baseline: LN, then C -> 4C -> C."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.width
        self.ln = nn.LayerNorm(C, bias=config.bias)
        self.c_fc = nn.Linear(C, 4 * C, bias=config.bias)
        self.c_proj = nn.Linear(4 * C, C, bias=config.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(self.ln(x_BTC))))


class Attention(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.width
        self.heads = config.heads
        self.c_attn = nn.Linear(C, 3 * C, bias=config.bias)
        self.c_proj = nn.Linear(C, C, bias=config.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        # [B, T, 3C] -> 3 x [B, heads, T, C / heads]
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.c_attn(x_BTC).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(-2))


class TransformerLayer(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.width
        self.ln_1 = nn.LayerNorm(C, bias=config.bias)
        self.attn = Attention(config)
        self.mlp: nn.Module
        if config.mlp == "dense":
            self.mlp = DenseMLP(config)
        else:  # it holds its own LN, always with weight and bias
            self.mlp = MuMoEBlock(
                config.mlp,
                C,
                4 * C,
                C,
                config.experts,
                config.rank,
                config.gate_norm,
                input_ln=True,
                bias=config.expert_bias,
            )

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attn(self.ln_1(x_BTC))
        return x_BTC + self.mlp(x_BTC)


class GPT2(nn.Module):
    """Pre-norm GPT-2 whose output head is its token embedding."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab, config.width)
        self.wpe = nn.Embedding(config.context, config.width)
        self.h = nn.ModuleList(
            [TransformerLayer(config) for _ in range(config.depth)]
        )
        self.ln_f = nn.LayerNorm(config.width, bias=config.bias)
        # The factors keep their own init: only nn.Linear and nn.Embedding are
        # drawn here, and only they have a scaled residual projection.
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                residual = name.endswith("c_proj")
                std = 0.02 / math.sqrt(2 * config.depth) if residual else 0.02
                nn.init.normal_(module.weight, std=std)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTC = self.wte(tokens_BT) + self.wpe.weight[: tokens_BT.shape[1]]
        for layer in self.h:
            x_BTC = layer(x_BTC)
        return F.linear(self.ln_f(x_BTC), self.wte.weight)


def cross_entropy(logits_BTV: Tensor, target_BT: Tensor) -> Tensor:
    """Mean nats per token, at least in fp32."""
    if logits_BTV.dtype is torch.bfloat16:
        logits_BTV = logits_BTV.float()
    return F.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten())


def adamw(
    model: nn.Module,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Decays tensors of two or more dims, and no others."""
    parameters = list(model.parameters())
    groups = [
        {
            "params": [p for p in parameters if p.dim() >= 2],
            "weight_decay": weight_decay,
        },
        {
            "params": [p for p in parameters if p.dim() < 2],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps)
