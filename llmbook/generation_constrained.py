"""Décodage contraint : à chaque pas, seuls les tokens que permet un automate gardent leur chance.

L’automate lit des octets, le modèle écrit des tokens : le masque d’un état s’obtient en descendant
ensemble dans l’automate et dans l’arbre des tokens, une fois par état. Willard et Louf, 2023,
arXiv:2307.09702. Un token n’est permis que si le budget restant suffit à finir : le texte rendu est
toujours complet, même écrit par un modèle tiré au hasard.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from llmbook.generation import Decoder, SimpleDecoder, check_prompt, choose
from llmbook.generation_sampling import Sampling

IMPOSSIBLE = 2**31 - 1


class Automaton(Protocol):
    """Ce qu’un automate doit savoir dire : `Dfa` et `JsonAutomaton` le savent."""

    start: Hashable

    def step(self, state, byte: int):
        """L’état après un octet, ou None s’il est interdit."""

    def accepts(self, state) -> bool:
        """Le texte peut-il finir là ?"""

    def completion(self, state, alphabet: frozenset[int]) -> int | None:
        """Nombre d’octets de `alphabet` qui suffisent à finir ; None si c’est impossible."""


class TokenMasks:
    """Les tokens permis à chaque état d’un automate, calculés une fois par état rencontré.

    token_bytes : les octets de chaque token ; vide pour ceux qui n’écrivent rien. eos : le token qui
    finit le texte. forbidden : d’autres tokens à exclure, les marques spéciales par exemple.
    La certitude de finir s’appuie sur les tokens d’un seul octet, que tout BPE d’octets possède.
    """

    def __init__(
        self,
        automaton: Automaton,
        token_bytes: Sequence[bytes],
        eos: int,
        forbidden: Collection[int] = (),
    ):
        if not 0 <= eos < len(token_bytes):
            raise ValueError(f"eos={eos} : le vocabulaire va de 0 à {len(token_bytes) - 1}")
        self.automaton, self.eos, self.vocab_size = automaton, eos, len(token_bytes)
        self.token_bytes = list(token_bytes)
        excluded = {eos, *forbidden}
        self.tree: dict = {}  # octet -> sous-arbre ; sous None, les tokens qui finissent là
        for token, text in enumerate(token_bytes):
            if text and token not in excluded:
                node = self.tree
                for byte in text:
                    node = node.setdefault(byte, {})
                node.setdefault(None, []).append(token)
        self.alphabet = frozenset(byte for byte, node in self.tree.items() if None in node)
        self.needed: dict[Hashable, Tensor] = {}
        self.least = automaton.completion(automaton.start, self.alphabet)
        if self.least is None:
            raise ValueError(
                "aucun texte de ces tokens ne satisfait la contrainte : il manque au vocabulaire, "
                "comme tokens d’un seul octet, des octets qu’elle exige"
            )

    def cost(self, state) -> Tensor:
        """Tokens nécessaires pour finir après chaque token, (V,) ; IMPOSSIBLE s’il est interdit."""
        if state not in self.needed:
            costs = [IMPOSSIBLE] * self.vocab_size
            if self.automaton.accepts(state):
                costs[self.eos] = 0
            todo, lengths = [(self.tree, state)], {}  # beaucoup de tokens mènent au même état
            while todo:
                node, here = todo.pop()
                for byte, child in node.items():
                    if byte is None or (after := self.automaton.step(here, byte)) is None:
                        continue
                    todo.append((child, after))
                    if None in child:
                        if after not in lengths:
                            left = self.automaton.completion(after, self.alphabet)
                            lengths[after] = IMPOSSIBLE if left is None else left
                        for token in child[None]:
                            costs[token] = lengths[after]
            self.needed[state] = torch.tensor(costs, dtype=torch.int32)
        return self.needed[state]

    def advance(self, state, token: int):
        """L’état après un token permis."""
        for byte in self.token_bytes[token]:
            state = self.automaton.step(state, byte)
        return state


@torch.no_grad()
def constrained(
    model,
    prompt_ids: Sequence[int],
    masks: TokenMasks,
    *,
    max_tokens: int,
    generator: torch.Generator | None = None,
    decoder: Decoder | None = None,
    **sampling,
) -> list[int]:
    """Des tokens, eos non compris, dont les octets réunis satisfont l’automate de `masks`.

    sampling : temperature=None (glouton), top_k… : voir `Sampling` ; le masque agit avant eux.
    ValueError si max_tokens ne laisse pas la place du plus court texte permis.
    """
    rules = Sampling(**sampling)
    prompt = check_prompt(model, prompt_ids, max_tokens)
    if masks.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"token_bytes décrit {masks.vocab_size} tokens, le modèle en a "
            f"{model.config.vocab_size} : il faut le tokeniseur du modèle"
        )
    if masks.least > max_tokens:
        raise ValueError(
            f"max_tokens={max_tokens} : le plus court texte permis demande jusqu’à {masks.least} "
            "tokens ; augmentez max_tokens ou relâchez la contrainte"
        )
    decoder = decoder or SimpleDecoder(model)
    ids, state = list(prompt), masks.automaton.start
    logits = None
    for remaining in range(max_tokens, 0, -1):
        allowed = masks.cost(state) < remaining  # après ce token, il en restera remaining - 1
        if masks.automaton.accepts(state) and int(allowed.sum()) == 1:
            break  # il ne reste qu’à finir : inutile d’interroger le modèle
        logits = decoder.start(prompt) if logits is None else decoder.step(ids[-1])
        known = logits[: masks.vocab_size]
        token = choose(known, ids, rules, generator, allowed.to(logits.device))
        if token == masks.eos:
            break
        ids.append(token)
        state = masks.advance(state, token)
    return ids[len(prompt) :]
