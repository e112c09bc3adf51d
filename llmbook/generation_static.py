"""Le même pas de décodage à formes fixes : sur une carte, il s’enregistre une fois et se rejoue.

À chaque token, le processeur lance des centaines de noyaux minuscules, et la carte l’attend. Un
*CUDA graph* les enregistre tous et les relance d’un seul appel ; il faut pour cela que rien ne change
de forme ni d’adresse : le cache a sa taille finale, et la position est un tenseur.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from llmbook.layers import apply_rope


class StaticDecoder:
    """Un `Decoder` (voir llmbook.generation) à cache statique de max_tokens positions.

    how : "graph" (carte NVIDIA), "compile" (torch.compile du pas entier) ou "eager" (tel quel).
    Les logits rendus sont un tampon réécrit au pas suivant.
    """

    def __init__(self, model, max_tokens: int | None = None, how: str = "eager"):
        if how not in ("eager", "compile", "graph"):
            raise ValueError(f"how={how!r} : eager, compile ou graph")
        if how == "graph" and model.device.type != "cuda":
            raise ValueError(
                f"how='graph' avec un modèle sur {model.device} : un CUDA graph demande une carte "
                "NVIDIA ; faites model.to('cuda'), ou prenez FastDecoder sur processeur"
            )
        self.model, self.how = model, how
        self.cache = model.new_cache(max_tokens=max_tokens)
        self.token = torch.zeros(1, dtype=torch.long, device=model.device)
        self.position = torch.zeros(1, dtype=torch.long, device=model.device)
        self.positions = torch.arange(self.cache.max_tokens, device=model.device)
        self.logits = torch.zeros(model.config.vocab_size, dtype=model.dtype, device=model.device)
        self.run = self._compute
        if how == "compile":
            self.run = torch.compile(self._compute, fullgraph=True, dynamic=False)
        elif how == "graph":
            self.run = self._recorded()

    @torch.no_grad()
    def start(self, prompt: Sequence[int]) -> Tensor:
        self.cache.length = 0
        tokens = torch.tensor([list(prompt)], device=self.model.device)
        hidden = self.model.hidden(tokens, self.cache)[0, -1]
        self.logits.copy_(self.model.lm_head(hidden))
        return self.logits

    @torch.no_grad()
    def step(self, token: int) -> Tensor:
        if self.cache.length >= self.cache.max_tokens:
            raise ValueError(f"le cache est plein : {self.cache.max_tokens} tokens")
        self.token.fill_(token)
        self.position.fill_(self.cache.length)
        self.run()
        self.cache.length += 1
        return self.logits

    def _compute(self) -> None:
        """De self.token et self.position à self.logits, sans forme qui dépende de leur valeur."""
        model, c = self.model, self.model.config
        visible = self.positions <= self.position
        if c.window is not None:
            visible &= self.positions > self.position - c.window
        cos, sin = model.cos[self.position], model.sin[self.position]  # (1, D/2)
        x = model.embed(self.token)[None]  # (1, 1, C)
        for block, keys, values in zip(model.blocks, self.cache.k, self.cache.v, strict=True):
            attention = block.attention
            heads = attention.qkv(block.attention_norm(x)).view(1, 1, -1, c.head_dim)
            q, k, v = heads.transpose(1, 2).split([c.n_heads, c.n_kv_heads, c.n_kv_heads], dim=1)
            if c.qk_norm:
                q, k = attention.q_norm(q), attention.k_norm(k)
            keys.index_copy_(2, self.position, apply_rope(k, cos, sin))
            values.index_copy_(2, self.position, v)
            q = apply_rope(q, cos, sin)
            y = F.scaled_dot_product_attention(
                q, keys, values, attn_mask=visible[None, None, None], enable_gqa=True
            )
            x = x + attention.out(y.reshape(1, 1, -1))
            x = x + block.ffn(block.ffn_norm(x))
        self.logits.copy_(model.lm_head(model.norm(x))[0, 0])

    @torch.no_grad()
    def _recorded(self):
        """Trois tours de chauffe sur un flux à part, comme torch le demande, puis l’enregistrement."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute()
        return graph.replay
