"""Le décodage d’un seul texte sur processeur, plusieurs fois plus vite : le même calcul en numpy.

Pour un lot d’un texte et un token à la fois, les produits sont petits : le temps passe à appeler des
opérateurs plus qu’à calculer. Trois remèdes, prouvés égaux à la version simple par les tests :
numpy, dont un appel coûte moins que celui de torch ; des poids préparés une fois (la norme et
l’échelle de l’attention repliées dans la matrice qui suit) ; des tampons alloués une fois.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor


class FastDecoder:
    """Un `Decoder` (voir llmbook.generation) en float32, pour un texte à la fois.

    Les poids sont copiés : préparez-le une fois, servez-vous-en souvent, refaites-le si le modèle
    change. Les logits rendus sont un tampon réécrit au pas suivant. ValueError hors du processeur.
    """

    def __init__(self, model):
        if model.device.type != "cpu":
            raise ValueError(
                f"modèle sur {model.device} : FastDecoder travaille sur processeur ; sur une "
                "carte, prenez StaticDecoder (llmbook.generation_static)"
            )
        self.model, self.config = model, model.config
        c = self.config
        self.embed = _array(model.embed.weight)
        self.layers = [Layer(block, c) for block in model.blocks]
        self.head = _array(model.lm_head.weight * model.norm.weight)
        # cos + i sin : tourner une paire, c’est multiplier un nombre complexe
        self.rotations = _array(model.cos) + 1j * _array(model.sin)  # (context, D/2)
        self.x = np.zeros(c.d_model, np.float32)
        self.normed = np.zeros(c.d_model, np.float32)
        self.logits = torch.zeros(c.vocab_size)
        self._logits = self.logits.numpy()  # la même mémoire
        self.length = 0

    @torch.no_grad()
    def start(self, prompt: Sequence[int]) -> Tensor:
        """Le prompt se lit d’un coup, par le modèle ; son cache est recopié dans le nôtre."""
        cache = self.model.new_cache(max_tokens=len(prompt))
        hidden = self.model.hidden(torch.tensor([list(prompt)]), cache)[0, -1]
        self.length = cache.length
        for layer, k, v in zip(self.layers, cache.k, cache.v, strict=True):
            layer.keys[:, : self.length] = _pairs_together(_array(k[0]))
            layer.values[:, : self.length] = _array(v[0])
        self.logits.copy_(self.model.lm_head(hidden))
        return self.logits

    def step(self, token: int) -> Tensor:
        if self.length >= self.config.context:
            raise ValueError(f"le contexte est plein : {self.config.context} tokens")
        x, normed, eps = self.x, self.normed, self.config.norm_eps
        x[:] = self.embed[token]
        rotation = self.rotations[self.length]
        self.length += 1
        first = max(0, self.length - (self.config.window or self.length))
        with np.errstate(over="ignore"):  # dans silu, exp(-g) infini donne 0 : la bonne limite
            for layer in self.layers:
                x += layer.attention(_normalized(x, eps, normed), rotation, first, self.length)
                x += layer.ffn(_normalized(x, eps, normed))
        np.dot(self.head, _normalized(x, eps, normed), out=self._logits)
        return self.logits


class Layer:
    """Les poids d’une couche, préparés, et ses clés et valeurs : (Hk, context, D)."""

    def __init__(self, block, config):
        c, attention = config, block.attention
        self.config = c
        n_rotated = c.n_heads + c.n_kv_heads
        scale = np.ones((n_rotated + c.n_kv_heads, 1, 1), np.float32)
        scale[: c.n_heads] = c.head_dim**-0.5  # les requêtes arrivent déjà divisées par √D
        if c.qk_norm:
            scale[:] = 1  # la norme effacerait l’échelle : elle va dans son poids
            q_norm, k_norm = _array(attention.q_norm.weight), _array(attention.k_norm.weight)
            norms = [q_norm * c.head_dim**-0.5] * c.n_heads + [k_norm] * c.n_kv_heads
            self.qk_weight = _pairs_together(np.stack(norms))

        def prepared(weight: Tensor) -> np.ndarray:
            """Lignes de q et k réordonnées, les deux membres d’une paire côte à côte."""
            rows = _array(weight).reshape(-1, c.head_dim, weight.numel() // weight.shape[0])
            rows = rows * scale
            rows[:n_rotated] = _pairs_together(rows[:n_rotated].swapaxes(1, 2)).swapaxes(1, 2)
            return np.ascontiguousarray(rows.reshape(weight.shape))

        self.qkv = prepared(attention.qkv.weight * block.attention_norm.weight)
        self.bias = prepared(attention.qkv.bias[:, None])[:, 0] if c.qkv_bias else None
        self.out = _array(attention.out.weight)
        self.gate_up = _array(block.ffn.gate_up.weight * block.ffn_norm.weight)
        self.down = _array(block.ffn.down.weight)

        cache = np.zeros((2 * c.n_kv_heads, c.context, c.head_dim), np.float32)
        self.keys_values = cache
        self.keys, self.values = cache[: c.n_kv_heads], cache[c.n_kv_heads :]
        heads = np.zeros((n_rotated + c.n_kv_heads, c.head_dim), np.float32)
        self.heads, self.flat = heads, heads.reshape(-1)  # une mémoire, plusieurs vues
        self.qk = heads[:n_rotated]
        self.rotated = self.qk.view(np.complex64)  # (H + Hk, D/2)
        self.queries = heads[: c.n_heads].reshape(c.n_kv_heads, -1, c.head_dim)  # (Hk, G, D)
        self.new = heads[c.n_heads :]  # la clé, puis la valeur, de la nouvelle position
        self.y = np.zeros(c.d_model, np.float32)
        self.hidden = np.zeros(2 * c.d_ff, np.float32)
        self.gate, self.up = self.hidden[: c.d_ff], self.hidden[c.d_ff :]
        self.sigmoid = np.zeros(c.d_ff, np.float32)

    def attention(self, x, rotation, first: int, length: int) -> np.ndarray:
        np.dot(self.qkv, x, out=self.flat)
        if self.bias is not None:
            self.flat += self.bias
        if self.config.qk_norm:
            squares = np.square(self.qk).mean(-1, keepdims=True)
            self.qk *= self.qk_weight / np.sqrt(squares + self.config.norm_eps)
        self.rotated *= rotation
        self.keys_values[:, length - 1] = self.new
        scores = self.queries @ self.keys[:, first:length].swapaxes(1, 2)  # (Hk, G, S)
        scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        y = scores @ self.values[:, first:length]  # (Hk, G, D)
        y /= np.add.reduce(scores, axis=-1, keepdims=True)
        return np.dot(self.out, y.reshape(-1), out=self.y)

    def ffn(self, x) -> np.ndarray:
        np.dot(self.gate_up, x, out=self.hidden)
        sigmoid = np.negative(self.gate, out=self.sigmoid)  # silu(g) = g / (1 + exp(-g))
        np.exp(sigmoid, out=sigmoid)
        sigmoid += 1
        self.gate /= sigmoid
        self.gate *= self.up
        return np.dot(self.down, self.gate, out=self.y)


def _normalized(x: np.ndarray, eps: float, out: np.ndarray) -> np.ndarray:
    """RMSNorm sans son poids, replié dans la matrice qui suit."""
    return np.multiply(x, np.float32(1 / sqrt(x.dot(x) / x.size + eps)), out=out)


def _pairs_together(x: np.ndarray) -> np.ndarray:
    """(…, D) : de (a₀ a₁ … b₀ b₁ …) à (a₀ b₀ a₁ b₁ …). q·k n’en change pas."""
    halves = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    return np.ascontiguousarray(halves.swapaxes(-1, -2)).reshape(x.shape)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()
