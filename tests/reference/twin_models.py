"""The twin's models: GPT-2 and an MLP-Mixer with dense or μMoE MLPs.

Shape letters: B batch, T tokens, C width, P patches, V classes or vocabulary.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twin import BlockConfig, MuMoEBlock


@dataclass
class GPT2Config:
    vocab: int
    context: int
    depth: int
    heads: int
    width: int
    block: BlockConfig | None = None  # None: dense MLPs
    bias: bool = False  # linear layers and norms


class DenseMLP(nn.Module):
    """GPT-2's baseline: LN, then C -> 4C -> C."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width, bias=bias)
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

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
        # Either holds its own LN; that of the block has weight and bias.
        self.mlp: nn.Module = (
            DenseMLP(C, config.bias)
            if config.block is None
            else MuMoEBlock(config.block, C, 4 * C, C)
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


@dataclass
class MixerConfig:
    image_size: int
    patch_size: int
    channels: int
    classes: int
    depth: int
    width: int
    token_hidden: int
    channel_hidden: int
    # None: dense MLPs. The norm is outside of a block.
    token_block: BlockConfig | None = None
    channel_block: BlockConfig | None = None
    drop_path: float = 0.0  # of the last layer; it grows linearly from 0


def patches(images_BCHW: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, P, size*size*C]: rows of patches, channels last."""
    B, C, H, W = images_BCHW.shape
    grid = images_BCHW.view(B, C, H // size, size, W // size, size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, size * size * C)


def mixer_mlp(block: BlockConfig | None, width: int, hidden: int) -> nn.Module:
    if block is not None:
        return MuMoEBlock(block, width, hidden, width)
    return nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
    )


class Transposed(nn.Module):
    """Mixes patches: the MLP sees [B, C, P], with channels as its tokens."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x_BPC: Tensor) -> Tensor:
        return self.fn(x_BPC.transpose(1, 2)).transpose(1, 2)


class Residual(nn.Module):
    """x + DropPath(fn(LN(x)))."""

    def __init__(self, width: int, fn: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn
        self.drop = drop

    def forward(self, x_BPC: Tensor) -> Tensor:
        y_BPC = self.fn(self.norm(x_BPC))
        if self.training and self.drop > 0:  # of whole images
            keep_B = torch.rand(len(x_BPC), device=x_BPC.device) >= self.drop
            y_BPC = y_BPC * (keep_B / (1 - self.drop))[:, None, None]
        return x_BPC + y_BPC


class Mixer(nn.Module):
    """MLP-Mixer; parameter names are those of the golden files."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.patch_size = size = config.patch_size
        C, depth = config.width, config.depth
        count = (config.image_size // size) ** 2
        self.stem = nn.Linear(size * size * config.channels, C)
        self.token = nn.ModuleList()
        self.channel = nn.ModuleList()
        for k in range(depth):
            drop = config.drop_path * k / max(depth - 1, 1)
            token = mixer_mlp(config.token_block, count, config.token_hidden)
            self.token.append(Residual(C, Transposed(token), drop))
            channel = mixer_mlp(config.channel_block, C, config.channel_hidden)
            self.channel.append(Residual(C, channel, drop))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, config.classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        x_BPC = self.stem(patches(images_BCHW, self.patch_size))
        for token, channel in zip(self.token, self.channel):
            x_BPC = channel(token(x_BPC))
        return self.head(self.norm(x_BPC).mean(dim=1))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean nats a row of logits [..., V], at least in fp32."""
    if logits.dtype is torch.bfloat16:
        logits = logits.float()
    return F.cross_entropy(logits.flatten(0, -2), target.flatten())


def adamw(
    model: nn.Module,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decay_vectors: bool = False,
) -> torch.optim.AdamW:
    """Decays tensors of two or more dims; others where `decay_vectors`."""
    decayed, kept = [], []
    for parameter in model.parameters():
        decays = decay_vectors or parameter.dim() >= 2
        (decayed if decays else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps)
