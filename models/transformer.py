"""A transformer encoder over the patches of an image, with a class token as in BERT and ViT.

Blocks normalise first, as in ViT and torch.nn.TransformerEncoderLayer(norm_first=True). Dropout is
applied to the embeddings, to the attention weights, inside the feed-forward part and to the output
of both parts of a block.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F


@dataclass
class TransformerConfig:
    dropout: float = 0.0  # after embeddings, in the feed-forward part, before each residual sum
    attention_dropout: float | None = None  # on attention weights; None: same as dropout
    depth: int = 2  # blocks
    width: int = 64  # features of a token
    n_head: int = 4
    patch: int = 7  # side in pixels
    input_shape: tuple[int, ...] = (1, 28, 28)
    n_classes: int = 10

    def __post_init__(self):
        for name in ("depth", "width", "n_head", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if self.width % self.n_head:
            raise ValueError(f"width {self.width} must be a multiple of n_head {self.n_head}")
        if len(self.input_shape) != 3 or any(n % self.patch for n in self.input_shape[1:]):
            raise ValueError(f"patch {self.patch} does not divide images {self.input_shape}")


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        rate = config.attention_dropout
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.attn_drop = nn.Dropout(config.dropout if rate is None else rate)

    def forward(self, x):  # (B, T, C) -> (B, T, C)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_head, -1)).unbind(-3)  # (B, T, nh, hs)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, nh, T, hs)
        # what scaled_dot_product_attention does in models/gpt.py, written out
        att = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        att = self.attn_drop(F.softmax(att, -1))
        return self.proj((att @ v).transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(config.width, 4 * config.width)
        self.proj = nn.Linear(4 * config.width, config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x):
        return self.proj(self.drop(F.gelu(self.fc(x))))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = Attention(config)
        self.drop_1 = nn.Dropout(config.dropout)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = FeedForward(config)
        self.drop_2 = nn.Dropout(config.dropout)

    def forward(self, x):
        x = x + self.drop_1(self.attn(self.ln_1(x)))
        return x + self.drop_2(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.patch = config.patch
        channels, height, width = config.input_shape
        n_tokens = 1 + (height // config.patch) * (width // config.patch)
        self.embed = nn.Linear(channels * config.patch**2, config.width)
        self.cls = nn.Parameter(torch.zeros(1, 1, config.width))
        self.position = nn.Parameter(0.02 * torch.randn(1, n_tokens, config.width))
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.ln = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_classes)

    def forward(self, x):  # (B, 1, 28, 28) -> (B, 10)
        x = F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)  # (B, T - 1, pixels)
        x = self.embed(x)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.position
        x = self.blocks(self.drop(x))
        return self.head(self.ln(x[:, 0]))
