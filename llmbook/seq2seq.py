"""Le transformeur de 2017 : un encodeur lit, un décodeur écrit en regardant ce qui est lu.

`EncoderDecoder` ne contient que les couches ; les noms de ses poids sont ceux de
`torch.nn.Transformer`, si bien qu’ils passent de l’un à l’autre par `load_state_dict`. `Seq2Seq` y
ajoute plongements, positions, tête et décodage glouton. Sans *dropout*.

Lettres : B suites, S tokens lus, T tokens écrits, C canaux, H têtes de taille D. Le token PAD
remplit les suites courtes ; un masque (B, S) est vrai où un token est réel.
Vaswani et coll., 2017, arXiv:1706.03762 ; pré-norme : Xiong et coll., 2020, arXiv:2002.04745.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmbook.attention import sdpa

PAD = 0
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Les dimensions. max_tokens borne chaque suite ; norm_first : pré-norme, sinon celle de 2017."""

    source_size: int
    target_size: int
    d_model: int = 64
    n_heads: int = 4
    n_encoder: int = 2
    n_decoder: int = 2
    d_ff: int = 256
    max_tokens: int = 64
    norm_first: bool = True
    activation: str = "relu"

    def __post_init__(self):
        for name, value in vars(self).items():
            if type(value) is int and value < 1:
                raise ValueError(f"{name}={value} : un nombre positif est attendu")
        if self.d_model % self.n_heads or self.d_model % 2:
            fits = f"pair, divisible par n_heads={self.n_heads}, est attendu"
            raise ValueError(f"d_model={self.d_model} : un nombre {fits}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation={self.activation!r} : {' ou '.join(ACTIVATIONS)} attendu")


# Les couches


class MultiHead(nn.Module):
    """Attention à H têtes : les requêtes viennent de x, les clés et les valeurs d’où l’on veut."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        C, self.n_heads = config.d_model, config.n_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * C, C))  # requêtes, clés, valeurs
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * C))
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj = nn.Linear(C, C)

    def project(self, x: Tensor, i: int) -> Tensor:
        """Têtes (B, H, T, D) de x (B, T, C) : requêtes (i = 0), clés (1) ou valeurs (2)."""
        weight, bias = self.in_proj_weight.chunk(3)[i], self.in_proj_bias.chunk(3)[i]
        return F.linear(x, weight, bias).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def keys_values(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y : (B, S, C) ; renvoie k et v, (B, H, S, D), à garder si y ne change pas."""
        return self.project(y, 1), self.project(y, 2)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, causal=False, mask=None) -> Tensor:
        """x : (B, T, C) ; k, v : (B, H, S, D) ; mask : (B, S), vrai où visible."""
        mask = None if mask is None else mask[:, None, None, :]
        y = sdpa(self.project(x, 0), k, v, causal=causal, mask=mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        """Les poids que `forward` ne forme pas, sans masque causal : (B, H, T, S)."""
        scores = self.project(x, 0) @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])
        return scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)


class EncoderLayer(nn.Module):
    """Chaque token lu regarde tous les autres, à gauche comme à droite."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        self.norm_first, self.activation = config.norm_first, ACTIVATIONS[config.activation]
        self.self_attn = MultiHead(config)
        self.linear1 = nn.Linear(config.d_model, config.d_ff)
        self.linear2 = nn.Linear(config.d_ff, config.d_model)
        self.norm1, self.norm2 = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)

    def add(self, x: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        """Pré-norme : x + f(norm(x)). Post-norme, celle de 2017 : norm(x + f(x))."""
        return x + part(norm(x)) if self.norm_first else norm(x + part(x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.activation(self.linear1(x)))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        look = self.self_attn
        x = self.add(x, self.norm1, lambda y: look(y, *look.keys_values(y), mask=mask))
        return self.add(x, self.norm2, self.feed_forward)


class DecoderLayer(EncoderLayer):
    """Chaque token écrit regarde ceux qui le précèdent, puis la mémoire de l’encodeur."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__(config)
        self.multihead_attn, self.norm3 = MultiHead(config), nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, k, v, memory_mask=None, mask=None, past=None, seen=None) -> Tensor:
        """k, v : de la mémoire. past : [k, v] déjà écrits, à prolonger. seen : reçoit les poids."""

        def look_back(y):
            own = self.self_attn.keys_values(y)
            if past is not None:
                own = past[:] = [torch.cat(pair, 2) for pair in zip(past, own, strict=True)]
            return self.self_attn(y, *own, causal=True, mask=mask)

        def look_across(y):
            if seen is not None:
                seen.append(self.multihead_attn.weights(y, k, memory_mask))
            return self.multihead_attn(y, k, v, mask=memory_mask)

        x = self.add(x, self.norm1, look_back)
        x = self.add(x, self.norm2, look_across)
        return self.add(x, self.norm3, self.feed_forward)


class Stack(nn.Module):
    """Des couches, puis une norme : celle de `torch.nn.Transformer`, absente de l’article."""

    def __init__(self, layers, C):
        super().__init__()
        self.layers, self.norm = nn.ModuleList(layers), nn.LayerNorm(C)


class EncoderDecoder(nn.Module):
    """Les couches seules : vecteurs (B, S, C) et (B, T, C) -> vecteurs (B, T, C)."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        C, readers, writers = config.d_model, range(config.n_encoder), range(config.n_decoder)
        self.encoder = Stack([EncoderLayer(config) for _ in readers], C)
        self.decoder = Stack([DecoderLayer(config) for _ in writers], C)
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight)

    def encode(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.encoder.layers:
            x = layer(x, mask)
        return self.encoder.norm(x)

    def memorize(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Clés et valeurs de la mémoire pour chaque couche du décodeur, calculées une fois."""
        return [layer.multihead_attn.keys_values(memory) for layer in self.decoder.layers]

    def decode(self, x, across, memory_mask=None, mask=None, past=None, seen=None) -> Tensor:
        """x : (B, T, C) ; across : ce que rend `memorize` ; past : une liste [k, v] par couche."""
        past = past or [None] * len(across)
        for layer, (k, v), before in zip(self.decoder.layers, across, past, strict=True):
            x = layer(x, k, v, memory_mask, mask, before, seen)
        return self.decoder.norm(x)

    def forward(self, source: Tensor, target: Tensor, source_mask=None, target_mask=None) -> Tensor:
        across = self.memorize(self.encode(source, source_mask))
        return self.decode(target, across, source_mask, target_mask)


# Le modèle complet


def sinusoidal(max_tokens: int, C: int) -> Tensor:
    """Positions de 2017 : sinus aux canaux pairs, cosinus aux impairs ; renvoie (max_tokens, C)."""
    if C % 2 or C < 2 or max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}, C={C} : un nombre positif, et C pair")
    speed = 10_000 ** (-torch.arange(0, C, 2) / C)  # radians par token
    angle = torch.outer(torch.arange(max_tokens), speed)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class Seq2Seq(nn.Module):
    """Tokens lus (B, S), tokens déjà écrits (B, T) -> logits du suivant (B, T, V)."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        self.config, C = config, config.d_model
        self.layers = EncoderDecoder(config)
        self.source = nn.Embedding(config.source_size, C)
        self.target = nn.Embedding(config.target_size, C)  # sert aussi de tête
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=C**-0.5)
        self.register_buffer("positions", sinusoidal(config.max_tokens, C), persistent=False)

    def embed(self, tokens: Tensor, table: nn.Embedding, start: int = 0) -> Tensor:
        """tokens (B, T), le premier à la position start ; renvoie (B, T, C)."""
        if tokens.ndim != 2 or tokens.shape[1] == 0 or tokens.dtype != torch.int64:
            raise ValueError(f"tokens {tokens.dtype} {tuple(tokens.shape)} : int64 (B, T), T ≥ 1")
        end, room = start + tokens.shape[1], self.config.max_tokens
        if end > room:
            raise ValueError(f"{end} tokens pour max_tokens={room} : raccourcissez, ou agrandissez")
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= table.num_embeddings:
            raise ValueError(
                f"tokens de {low} à {high} : de 0 à {table.num_embeddings - 1} attendu"
            )
        return table(tokens) * math.sqrt(self.config.d_model) + self.positions[start:end]

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """source (B, S) ; renvoie la mémoire (B, S, C), et son masque, faux sur PAD."""
        x, mask = self.embed(source, self.source), source != PAD
        if not mask.any(dim=1).all():
            raise ValueError("une source ne contient que PAD : retirez-la du lot")
        return self.layers.encode(x, mask), mask

    def forward(self, source: Tensor, target: Tensor, seen: list | None = None) -> Tensor:
        """seen : liste où déposer, par couche, les poids de l’attention croisée."""
        memory, mask = self.encode(source)
        across = self.layers.memorize(memory)
        y = self.layers.decode(self.embed(target, self.target), across, mask, seen=seen)
        return y @ self.target.weight.T

    @torch.no_grad()
    def greedy(self, source: Tensor, start: int, stop: int, max_tokens: int) -> list[list[int]]:
        """Écrit le token le plus probable, jusqu’à `stop` (exclu) ou max_tokens.

        La mémoire n’est projetée qu’une fois ; chaque pas ne lit qu’un token par suite.
        """
        if not 1 <= max_tokens <= self.config.max_tokens:
            raise ValueError(f"max_tokens={max_tokens} : entre 1 et {self.config.max_tokens}")
        memory, mask = self.encode(source)
        across = self.layers.memorize(memory)
        past = [[k[:, :, :0], v[:, :, :0]] for k, v in across]  # rien d’écrit encore
        written = torch.full((len(source), 1), start, device=source.device)
        for step in range(max_tokens):
            x = self.embed(written[:, -1:], self.target, step)  # (B, 1, C)
            y = self.layers.decode(x, across, mask, past=past)
            written = torch.cat([written, (y @ self.target.weight.T).argmax(-1)], dim=1)
            if (written[:, 1:] == stop).any(dim=1).all():
                break
        rows = written[:, 1:].tolist()
        return [row[: row.index(stop)] if stop in row else row for row in rows]
