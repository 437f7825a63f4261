"""A decoder-only transformer that predicts the next token, like nanoGPT and GPT-2.

Names are the same as in models/transformer.py. Dropout is applied where GPT-2 applies it: to the
embeddings, to the attention weights and to the output of both parts of a block.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F


@dataclass
class GPTConfig:
    dropout: float = 0.0  # after embeddings, before each residual sum
    attention_dropout: float | None = None  # on attention weights; None: same as dropout
    depth: int = 2  # blocks
    width: int = 64  # features of a token
    n_head: int = 4
    input_shape: tuple[int, ...] = (32,)  # the largest number of tokens in a sample
    n_classes: int = 100  # size of the vocabulary

    def __post_init__(self):
        for name in ("depth", "width", "n_head"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if self.width % self.n_head:
            raise ValueError(f"width {self.width} must be a multiple of n_head {self.n_head}")


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        rate = config.attention_dropout
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.dropout = config.dropout if rate is None else rate

    def forward(self, x):  # (B, T, C) -> (B, T, C)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_head, -1)).unbind(-3)  # (B, T, nh, hs)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, nh, T, hs)
        rate = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        return self.proj(y.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(config.width, 4 * config.width)
        self.proj = nn.Linear(4 * config.width, config.width)

    def forward(self, x):
        return self.proj(F.gelu(self.fc(x)))


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


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        if len(config.input_shape) != 1:
            raise ValueError(f"needs sequences of tokens (T,), not samples {config.input_shape}")
        self.embed = nn.Embedding(config.n_classes, config.width)
        self.position = nn.Parameter(torch.zeros(1, *config.input_shape, config.width))
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.ln = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_classes, bias=False)
        self.head.weight = self.embed.weight  # tied
        for name, p in self.named_parameters():  # as in GPT-2; LayerNorm keeps 1 and 0
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() > 1:
                scale = math.sqrt(2 * config.depth) if name.endswith("proj.weight") else 1
                nn.init.normal_(p, std=0.02 / scale)

    def forward(self, tokens):  # (B, T) -> (B, T, n_classes)
        x = self.embed(tokens) + self.position[:, : tokens.shape[1]]
        x = self.blocks(self.drop(x))
        return self.head(self.ln(x))
