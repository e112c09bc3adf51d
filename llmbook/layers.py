"""Les pièces d’un décodeur moderne : RMSNorm, RoPE, attention à requêtes groupées, SwiGLU.

Les formes sont celles de Llama (Touvron et coll., 2023, arXiv:2302.13971) ; deux options suffisent
pour Qwen : un biais sur les projections (Qwen2), une norme sur les requêtes et les clés (Qwen3).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmbook.attention import sdpa

LLAMA3 = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}


@dataclass(frozen=True)
class ModelConfig:
    """Les dimensions d’un modèle ; `ModelConfig.sized` les déduit toutes d’un seul cadran.

    context : le plus grand nombre de tokens vus ensemble. window : fenêtre glissante, en tokens.
    rope_scaling : étirement des fréquences de Llama 3, tel que l’écrit config.json.
    """

    vocab_size: int
    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    n_kv_heads: int = 2
    d_ff: int = 704
    context: int = 512
    head_dim: int | None = None
    rope_theta: float = 10_000.0
    rope_scaling: dict | None = None
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    window: int | None = None

    def __post_init__(self):
        if self.head_dim is None:
            if self.d_model % self.n_heads:
                raise ValueError(
                    f"d_model={self.d_model} n’est pas divisible par n_heads={self.n_heads} : "
                    "changez l’un des deux, ou donnez head_dim"
                )
            object.__setattr__(self, "head_dim", self.d_model // self.n_heads)
        sizes = "vocab_size d_model n_layers n_heads n_kv_heads d_ff context head_dim".split()
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} : un nombre positif est attendu")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} n’est pas divisible par n_kv_heads={self.n_kv_heads} : "
                "chaque tête de clés sert un même nombre de têtes de requêtes"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} : RoPE tourne des paires, il le faut pair")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window={self.window} : au moins un token visible est attendu")
        if self.rope_scaling is not None and (missing := LLAMA3 - self.rope_scaling.keys()):
            raise ValueError(f"rope_scaling sans {', '.join(sorted(missing))} : Llama 3 les donne")

    @classmethod
    def sized(cls, depth: int, vocab_size: int, context: int = 512, **changes) -> "ModelConfig":
        """Un seul cadran, la profondeur : la largeur suit (C = 64 ⌈2 · depth / 3⌉), têtes de 64.

        depth = 6 donne 5,5 M de paramètres avec V = 4096, depth = 12 en donne 33 M.
        """
        if depth < 1:
            raise ValueError(f"depth={depth} : au moins une couche est attendue")
        n_heads = math.ceil(2 * depth / 3)
        n_kv_heads = max(n for n in range(1, max(1, n_heads // 2) + 1) if n_heads % n == 0)
        d_model = 64 * n_heads
        d_ff = 64 * round(8 * d_model / 3 / 64)  # SwiGLU : trois matrices au lieu de deux
        shape = dict(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, d_ff=d_ff)
        return cls(vocab_size, n_layers=depth, context=context, **(shape | changes))


# Normaliser


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Divise chaque vecteur par sa moyenne quadratique (*RMSNorm*).

    x : (..., C) ; weight : (C,) ; renvoie (..., C). Zhang et Sennrich, 2019, arXiv:1910.07467.
    """
    x32 = x.float()  # bf16 perdrait la somme des carrés
    scale = (x32.square().mean(-1, keepdim=True) + eps).rsqrt()  # (..., 1)
    return weight * (x32 * scale).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


# Situer : positions rotatives


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Vitesse de rotation de chaque paire, en radians par token : (D/2,).

    Su et coll., 2021, arXiv:2104.09864 ; étirement par bandes de fréquences de Llama 3.1.
    """
    exponent = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequency = 1 / config.rope_theta**exponent
    if config.rope_scaling is None:
        return frequency
    factor = config.rope_scaling["factor"]
    low, high = config.rope_scaling["low_freq_factor"], config.rope_scaling["high_freq_factor"]
    turns = config.rope_scaling["original_max_position_embeddings"] * frequency / (2 * math.pi)
    keep = ((turns - low) / (high - low)).clamp(0, 1)  # 1 : paire rapide, laissée telle quelle
    return keep * frequency + (1 - keep) * frequency / factor


def rope_tables(config: ModelConfig, device=None) -> tuple[Tensor, Tensor]:
    """cos et sin de l’angle de chaque position et de chaque paire : deux (context, D/2)."""
    positions = torch.arange(config.context, dtype=torch.float32)
    angles = torch.outer(positions, rope_frequencies(config))
    return angles.cos().to(device), angles.sin().to(device)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Tourne chaque paire (x_i, x_{i+D/2}) de l’angle de sa position.

    x : (B, H, T, D) ; cos, sin : (T, D/2) ; renvoie (B, H, T, D).
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


# Se souvenir


class KVCache:
    """Clés et valeurs déjà calculées, dans des tampons de taille fixe.

    k, v : une liste par couche de (B, Hk, max_tokens, D) ; length : positions déjà remplies.
    """

    def __init__(
        self, config: ModelConfig, batch_size: int, max_tokens: int, device=None, dtype=None
    ):
        if max_tokens > config.context:
            raise ValueError(
                f"max_tokens={max_tokens} dépasse le contexte du modèle, {config.context} tokens"
            )
        if batch_size < 1 or max_tokens < 1:
            raise ValueError(f"batch_size={batch_size}, max_tokens={max_tokens} : au moins 1")
        shape = (batch_size, config.n_kv_heads, max_tokens, config.head_dim)
        empty = [torch.zeros(2, *shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.k, self.v = [kv[0] for kv in empty], [kv[1] for kv in empty]
        self.max_tokens, self.length = max_tokens, 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Ajoute T positions à une couche ; renvoie toutes les siennes, (B, Hk, length + T, D)."""
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]

    def crop(self, length: int) -> None:
        """Oublie ce qui suit les `length` premières positions."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length={length} : le cache contient {self.length} positions")
        self.length = length

    def reorder(self, index: Tensor) -> None:
        """Garde les lignes `index` (B,) du lot : les faisceaux survivants."""
        self.k = [k[index] for k in self.k]
        self.v = [v[index] for v in self.v]


# Mélanger les positions, puis les canaux


class Attention(nn.Module):
    """Attention causale à requêtes groupées : H têtes de requêtes, Hk têtes de clés et valeurs.

    Ainslie et coll., 2023, arXiv:2305.13245.
    """

    attend = staticmethod(sdpa)  # l’entraînement sur CPU y met un noyau plus rapide

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        heads = config.n_heads + 2 * config.n_kv_heads
        self.qkv = nn.Linear(config.d_model, heads * config.head_dim, bias=config.qkv_bias)
        self.out = nn.Linear(config.n_heads * config.head_dim, config.d_model, bias=False)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None = None) -> Tensor:
        """x : (B, T, C) ; cos, sin : (T, D/2) ; renvoie (B, T, C)."""
        B, T, _ = x.shape
        c = self.config
        heads = self.qkv(x).view(B, T, -1, c.head_dim).transpose(1, 2)  # (B, H + 2 Hk, T, D)
        q, k, v = heads.split([c.n_heads, c.n_kv_heads, c.n_kv_heads], dim=1)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        y = self.attend(q, k, v, causal=True, window=c.window)  # (B, H, T, D)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))


class SwiGLU(nn.Module):
    """Couche *feed-forward* à porte : silu(x G) ⊙ (x U), puis retour à C canaux.

    Shazeer, 2020, arXiv:2002.05202.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Une couche : chacune des deux moitiés lit le flux résiduel normalisé, et s’y ajoute."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config, layer)
        self.ffn_norm = RMSNorm(config.d_model, config.norm_eps)
        self.ffn = SwiGLU(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, cache)
        return x + self.ffn(self.ffn_norm(x))
