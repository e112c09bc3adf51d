"""La perte d’un lot supervisé, pour le modèle du livre et pour ceux de transformers.

Seules les positions apprises passent par la tête : un dialogue dont un tiers s’apprend n’en demande
qu’un tiers, et le gradient est exact, puisque les autres positions n’entrent pas dans la perte.

`Learner` sait trois choses d’un modèle : ses états cachés, sa tête, et comment fermer l’attention
aux autres exemples d’un paquet.
"""

import contextlib
import functools

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from llmbook.attention_packs import attention_by_example
from llmbook.batches import document_mask
from llmbook.losses import IGNORE, chunked_cross_entropy, cross_entropy
from llmbook.model import LanguageModel
from llmbook.training import attending


class Learner:
    """Un `LanguageModel`, ou un modèle de langage causal de transformers, peft compris.

    Pour transformers, le corps et la tête sont ceux que le modèle déclare. S’il fait autre chose
    entre les deux (Gemma 2 borne ses logits), un essai de quelques tokens le voit, et ses logits
    entiers servent à la place. Ni la perte auxiliaire d’un mélange d’experts, ni les prompts appris
    de peft ne sont pris en compte. Poids et mode (train, eval) restent intacts.
    """

    def __init__(self, model: nn.Module):
        self.model, self.is_ours = model, isinstance(model, LanguageModel)
        if self.is_ours:
            self.body, self.head = model, model.lm_head
            self.vocab_size, self.context = model.config.vocab_size, model.config.context
            return
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        if not hasattr(inner, "get_output_embeddings"):
            raise ValueError(
                f"{type(model).__name__} : un LanguageModel ou un AutoModelForCausalLM est attendu"
            )
        self.config = inner.config
        # .weight : les lignes apprises de peft enveloppent la table sans rendre num_embeddings
        self.vocab_size = inner.get_input_embeddings().weight.shape[0]
        self.context = getattr(inner.config, "max_position_embeddings", None)
        self.body = getattr(inner, inner.base_model_prefix, None)
        self.head = inner.get_output_embeddings()
        if self.body is None or self.head is None or not self._splits():
            self.body = self.head = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def loss(self, inputs, targets, numbers=None, positions=None) -> Tensor:
        """Perte moyenne, en nats par token appris, d’un lot de `SupervisedBatches`.

        inputs, targets (B, T) ; numbers, positions (B, T) pour des paquets. Un scalaire float32, nan
        si rien ne s’apprend. La passe arrière d’un paquet se fait sous `alone(numbers)`.
        """
        targets = targets.flatten()
        kept = (targets != IGNORE).nonzero().squeeze(1)  # avant le modèle : compter attend la carte
        targets = targets[kept]  # (N,)
        if self.head is None:
            logits = self._run(self.model, inputs, numbers, positions).logits
            return cross_entropy(logits.flatten(0, 1)[kept], targets)
        hidden = self.hidden(inputs, numbers, positions).flatten(0, 1)[kept]  # (N, C)
        if type(self.head) is nn.Linear and self.head.bias is None and not self.head._forward_hooks:
            return chunked_cross_entropy(hidden, self.head.weight, targets)
        return cross_entropy(self.head(hidden), targets)  # un biais, un adaptateur, 4 bits…

    def hidden(self, inputs, numbers=None, positions=None) -> Tensor:
        """États cachés, (B, T, C) ; ceux d’un `LanguageModel` demandent `alone(numbers)`."""
        if self.is_ours:
            return self.body.hidden(inputs)
        return self._run(self.body, inputs, numbers, positions).last_hidden_state

    def alone(self, numbers: Tensor | None):
        """Le temps d’une passe avant et arrière, chaque exemple ne voit que lui-même.

        Le modèle du livre garde les positions du paquet : RoPE ne voit que des écarts.
        """
        if numbers is None or not self.is_ours:
            return contextlib.nullcontext()
        return attending(self.model, attention_by_example(numbers))

    @contextlib.contextmanager
    def recomputing(self):
        """Les activations des couches sont recalculées en arrière (*gradient checkpointing*).

        Une passe avant de plus, contre la mémoire d’une seule couche (Chen et coll., 2016,
        arXiv:1604.06174).
        """
        inside = self.body if self.body is not None else self.model
        blocks = next((m for m in inside.modules() if isinstance(m, nn.ModuleList)), None)
        if blocks is None:
            raise ValueError(
                f"{type(self.model).__name__} n’a pas de liste de couches : gradient_checkpointing=False"
            )
        before = [vars(block).get("forward") for block in blocks]
        for block in blocks:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        try:
            yield
        finally:
            for block, forward in zip(blocks, before, strict=True):
                del block.forward
                if forward is not None:  # accelerate y met parfois le sien
                    block.forward = forward

    def check_packing(self, context: int) -> None:
        """ValueError si un exemple d’un paquet de `context` positions verrait ses voisins.

        Un essai de deux exemples de 8 tokens : le second doit être le même que seul.
        """
        if self.is_ours:
            return
        if self.config._attn_implementation not in ("sdpa", "eager"):
            raise ValueError(
                f"attention « {self.config._attn_implementation} » : pour des paquets, chargez le "
                "modèle avec attn_implementation='sdpa'"
            )
        # Plus long que la fenêtre glissante, un exemple verrait trop loin sous notre masque.
        window = getattr(self.config, "sliding_window", None)
        too_far = window is not None and window < context
        rank = torch.arange(16, device=self.device)[None]
        ids, numbers, positions = rank % self.vocab_size, rank // 8, rank % 8
        body = self.body if self.body is not None else self.model
        try:
            with torch.no_grad(), evaluating(self.model):
                packed = self._run(body, ids, numbers, positions)[0][0, 8:].float()
                single = self._run(body, ids[:, 8:])[0][0].float()
            leak = float((packed - single).norm() / single.norm())
        except (RuntimeError, TypeError, ValueError):  # un masque à quatre dimensions est refusé
            leak = torch.inf
        if too_far or not leak < (1e-3 if self.model.dtype == torch.float32 else 5e-2):
            raise ValueError(
                f"{type(self.model).__name__} ne sait pas séparer les exemples d’un paquet "
                "(fenêtre glissante, état récurrent…) : prenez packing=False"
            )

    def _run(self, module, inputs, numbers=None, positions=None):
        """Un module de transformers ; sans paquets, ni masque ni positions : le noyau causal."""
        mask = None
        if numbers is not None:
            T = numbers.shape[1]
            causal = torch.ones(T, T, dtype=torch.bool, device=numbers.device).tril()
            mask = document_mask(numbers) & causal  # (B, 1, T, T), vrai : visible
            if self.config._attn_implementation == "eager":  # y ajoute le masque aux scores
                low = torch.finfo(torch.float32).min
                mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, low)
        return module(
            input_ids=inputs, attention_mask=mask, position_ids=positions, use_cache=False
        )

    def _splits(self) -> bool:
        """Les logits du modèle sont-ils, au bit près, la tête appliquée à son corps ?"""
        ids = torch.arange(8, device=self.device)[None] % self.vocab_size
        with torch.no_grad(), evaluating(self.model):
            expected = self._run(self.model, ids).logits
            found = self._run(self.body, ids)
            if not isinstance(getattr(found, "last_hidden_state", None), Tensor):
                return False
            return torch.equal(self.head(found.last_hidden_state), expected)


@contextlib.contextmanager
def evaluating(model: nn.Module):
    """Mode évaluation (pas d’abandon aléatoire), puis le mode d’avant, module par module."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
