"""A Llama decoder in plain torch, quick on short packed rows, with the parameter names of Hugging Face."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    layers: int = 8
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 352
    context: int = 1024
    theta: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        return self.width // self.heads


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


class Attention(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.width, s.width, bias=False)
        self.k_proj = nn.Linear(s.width, s.kv_heads * s.head, bias=False)
        self.v_proj = nn.Linear(s.width, s.kv_heads * s.head, bias=False)
        self.o_proj = nn.Linear(s.width, s.width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        s, (rows, length, _) = self.s, x.shape
        q, k, v = (
            p(x).view(rows, length, -1, s.head).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (t.repeat_interleave(s.heads // s.kv_heads, 1) for t in (k, v))
        pattern = (q @ k.transpose(-1, -2) * s.head**-0.5 + mask).softmax(-1)
        return self.o_proj((pattern @ v).transpose(1, 2).reshape(rows, length, s.width))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Mlp(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(s.width, s.mlp, bias=False)
        self.up_proj = nn.Linear(s.width, s.mlp, bias=False)
        self.down_proj = nn.Linear(s.mlp, s.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(s.width, s.epsilon)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = Norm(s.width, s.epsilon)
        self.mlp = Mlp(s)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.embed_tokens = nn.Embedding(s.vocabulary, s.width)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = Norm(s.width, s.epsilon)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                out = "o_proj" in name or "down_proj" in name
                nn.init.normal_(p, std=0.05 / (2 * s.layers) ** 0.5 if out else 0.05)

    def forward(self, ids: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """[row, position, width]: final normed states; tokens see earlier ones of their own document."""
        length = ids.shape[1]
        position = torch.arange(length)
        angles = position[:, None] * self.s.theta ** (-torch.arange(0, self.s.head, 2) / self.s.head)
        seen = (documents[:, :, None] == documents[:, None, :]) & (position[:, None] >= position[None, :])
        mask = torch.where(seen, 0.0, -1e9)[:, None]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, angles.cos(), angles.sin(), mask)
        return self.norm(x)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.embed_tokens.weight.T
