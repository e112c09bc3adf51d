"""Les lots supervisés : des dialogues encodés, complétés à la même longueur ou mis en paquets.

Un exemple de n tokens donne n - 1 prédictions : inputs est l’exemple sans son dernier token, targets
le même décalé d’un token, où tout ce que l’assistant n’a pas écrit vaut IGNORE. Le remplissage est à
droite : l’attention étant causale, aucun vrai token ne le voit, et il n’y faut aucun masque.

Un paquet met plusieurs exemples dans une même rangée. Leurs numéros disent à l’attention de ne pas
aller de l’un à l’autre (`llmbook.batches.document_mask`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmbook.batches import Batches
from llmbook.chat_template import encode
from llmbook.losses import IGNORE

BUCKET = 32  # lots dont les exemples sont triés ensemble par longueur


@dataclass(frozen=True, eq=False)
class Example:
    """ids (n,) int64 : les tokens ; mask (n,) bool : ceux qui s’apprennent.

    Des listes conviennent. Le premier token ne s’apprend jamais : rien ne le précède. ValueError
    s’il ne reste rien à apprendre.
    """

    ids: np.ndarray
    mask: np.ndarray

    def __post_init__(self):
        ids, mask = np.asarray(self.ids), np.asarray(self.mask)
        if ids.ndim != 1 or ids.shape != mask.shape or len(ids) < 2:
            raise ValueError(
                f"ids {ids.shape} et mask {mask.shape} : deux listes de même longueur, au moins 2"
            )
        if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0:
            raise ValueError("ids : des numéros de tokens, entiers et positifs, sont attendus")
        mask = mask.astype(bool)
        if not mask[1:].any():
            raise ValueError("aucun token à apprendre : le masque est faux partout")
        object.__setattr__(self, "ids", ids.astype(np.int64))
        object.__setattr__(self, "mask", mask)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def targets(self) -> np.ndarray:
        """(n - 1,) int64 : le token suivant s’il s’apprend, IGNORE sinon."""
        return np.where(self.mask[1:], self.ids[1:], IGNORE)


def encode_examples(
    tokenizer, dialogues: Iterable, context: int, too_long: str = "error"
) -> list[Example]:
    """Un exemple par dialogue : une liste de messages, ou un enregistrement qui en a sous "messages".

    context : le plus grand nombre de tokens d’un exemple. too_long : "error" refuse un exemple plus
    long, "skip" l’écarte, "truncate" en garde le début. ValueError, qui nomme l’exemple (son "id",
    sinon son rang), s’il est trop long, mal formé ou sans rien à apprendre ; et si aucun ne reste.
    """
    if too_long not in ("error", "skip", "truncate"):
        raise ValueError(f"too_long={too_long!r} : choisir « error », « skip » ou « truncate »")
    if context < 2:
        raise ValueError(f"context={context} : au moins 2 tokens sont attendus")
    examples, count = [], 0
    for count, dialogue in enumerate(dialogues, 1):
        is_record = isinstance(dialogue, Mapping)
        name = f"exemple {dialogue.get('id', count - 1) if is_record else count - 1}"
        if is_record and "messages" not in dialogue:
            raise ValueError(f"{name} : un enregistrement a ses messages sous la clé « messages »")
        try:
            ids, mask = encode(tokenizer, dialogue["messages"] if is_record else dialogue)
            if len(ids) > context and too_long == "error":
                raise ValueError(
                    f"{len(ids)} tokens dépassent context={context} ; raccourcissez-le, ou "
                    "too_long='skip' l’écarte et 'truncate' en garde le début"
                )
            if len(ids) > context and too_long == "skip":
                continue
            examples.append(Example(ids[:context], mask[:context]))
        except ValueError as error:
            raise ValueError(f"{name} : {error}") from None
    if not examples:
        raise ValueError(
            f"aucun exemple : les {count} dialogues dépassent context={context}"
            if count
            else "jeu de données vide : aucun dialogue"
        )
    return examples


def collate(examples: Sequence[Example], pad: int = 0) -> tuple[Tensor, Tensor]:
    """(inputs, targets), deux (B, T) int64 : T est le plus long exemple moins un, le reste `pad`."""
    if not examples:
        raise ValueError("aucun exemple à mettre en lot")
    T = max(map(len, examples)) - 1
    inputs = np.full((len(examples), T), pad, np.int64)
    targets = np.full((len(examples), T), IGNORE, np.int64)
    for row, example in enumerate(examples):
        inputs[row, : len(example) - 1] = example.ids[:-1]
        targets[row, : len(example) - 1] = example.targets
    return torch.from_numpy(inputs), torch.from_numpy(targets)


@dataclass(frozen=True, eq=False)
class Packs:
    """Quatre (N, context) int64 ; `efficiency` : part des positions occupées, entre 0 et 1.

    numbers : numéro d’exemple de chaque position, -1 au remplissage ; positions : rang du token dans
    son exemple, 0 au remplissage.
    """

    inputs: Tensor
    targets: Tensor
    numbers: Tensor
    positions: Tensor

    @property
    def efficiency(self) -> float:
        return float((self.numbers >= 0).float().mean())


def pack_examples(examples: Sequence[Example], context: int, pad: int = 0) -> Packs:
    """Met les exemples en rangées de `context` positions, chacun entier dans une seule.

    Du plus long au plus court, chacun va dans la première rangée où il tient (*first-fit
    decreasing*) : au plus 11/9 du meilleur rangement possible, et 6/9 de rangée (Dósa, 2007).
    ValueError si un exemple ne tient pas : il demande len - 1 positions.
    """
    sizes = np.array([len(example) - 1 for example in examples])
    if not len(sizes):
        raise ValueError("aucun exemple à mettre en paquets")
    if sizes.max() > context:
        raise ValueError(
            f"exemple {sizes.argmax()} : {sizes.max()} positions ne tiennent pas dans un paquet de "
            f"context={context}"
        )
    room = np.full(len(sizes), context)  # une rangée par exemple au pire
    rows, starts = np.empty(len(sizes), int), np.empty(len(sizes), int)
    used = 0
    for number in np.argsort(-sizes, kind="stable"):
        row = int((room[: used + 1] >= sizes[number]).argmax())
        used = max(used, row + 1)
        rows[number], starts[number] = row, context - room[row]
        room[row] -= sizes[number]
    shape = (used, context)
    inputs, targets = np.full(shape, pad, np.int64), np.full(shape, IGNORE, np.int64)
    numbers, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for number, example in enumerate(examples):
        place = rows[number], slice(starts[number], starts[number] + sizes[number])
        inputs[place], targets[place] = example.ids[:-1], example.targets
        numbers[place], positions[place] = number, np.arange(sizes[number])
    return Packs(*map(torch.from_numpy, (inputs, targets, numbers, positions)))


class SupervisedBatches(Batches):
    """Suite sans fin de lots supervisés ; le lot n ne dépend que des exemples, de la graine et de n.

    Une époque donne chaque exemple une fois, dans un ordre tiré au sort ; son dernier lot peut être
    plus petit. `at(n)` rend (inputs, targets), ou (inputs, targets, numbers, positions) en paquets.

    batch_size : exemples d’un lot, ou paquets de `context` positions si packing. group_by_length :
    met ensemble des exemples de longueurs voisines, ce qui épargne du remplissage ; sans effet sur
    des paquets, qui n’en ont presque pas.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        batch_size: int,
        context: int,
        *,
        seed: int = 0,
        packing: bool = False,
        group_by_length: bool = True,
        pad: int = 0,
    ):
        if not examples:
            raise ValueError("jeu de données vide : aucun exemple")
        if batch_size < 1 or context < 1:
            raise ValueError(f"batch_size={batch_size}, context={context} : au moins 1 est attendu")
        sizes = np.array([len(example) for example in examples])
        if sizes.max() > context:
            raise ValueError(
                f"exemple {sizes.argmax()} : {sizes.max()} tokens dépassent context={context} ; "
                "voyez too_long dans `encode_examples`"
            )
        self.examples, self.batch_size, self.context = list(examples), batch_size, context
        self.seed, self.pad = seed, pad
        self.packing, self.group_by_length = packing, group_by_length
        self.rank, self.world_size, self.position = 0, 1, 0
        self.packs = pack_examples(examples, context, pad) if packing else None
        rows = len(self.packs.inputs) if packing else len(sizes)
        self.sizes = None if packing or not group_by_length else sizes
        self.rows, self.per_epoch = rows, -(-rows // batch_size)  # par époque : rangées, lots
        self._orders: dict[int, list[np.ndarray]] = {}

    def at(self, n: int) -> tuple[Tensor, ...]:
        """Le lot numéro n, n ≥ 0."""
        epoch, index = divmod(n, self.per_epoch)
        if epoch not in self._orders:
            kept = {e: o for e, o in self._orders.items() if abs(e - epoch) <= 1}
            self._orders = kept | {epoch: self._order(epoch)}
        rows = self._orders[epoch][index]
        if self.packs is None:
            return collate([self.examples[row] for row in rows], self.pad)
        p = self.packs
        return p.inputs[rows], p.targets[rows], p.numbers[rows], p.positions[rows]

    def identity(self) -> dict:
        """Ce dont dépendent les lots."""
        digest = hashlib.blake2b(digest_size=16)
        for example in self.examples:
            digest.update(example.ids.astype("<u4").tobytes() + example.mask.tobytes() + b"|")
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "context": self.context,
            "packing": self.packing,
            "group_by_length": self.group_by_length,
            "examples": len(self.examples),
            "digest": digest.hexdigest(),
        }

    def check_vocabulary(self, vocab_size: int) -> None:
        """ValueError si un token dépasse le vocabulaire."""
        high = max(int(example.ids.max()) for example in self.examples)
        if max(high, self.pad) >= vocab_size:
            raise ValueError(
                f"token {max(high, self.pad)} : le vocabulaire va de 0 à {vocab_size - 1}. "
                "Ce tokeniseur est-il celui du modèle ?"
            )

    def _order(self, epoch: int) -> list[np.ndarray]:
        """Les rangées de chaque lot d’une époque."""
        rng, size = np.random.default_rng([self.seed, epoch]), self.batch_size
        order = rng.permutation(self.rows)
        if self.sizes is None:
            return [order[i : i + size] for i in range(0, self.rows, size)]
        batches = []
        for start in range(0, self.rows, BUCKET * size):
            bucket = order[start : start + BUCKET * size]
            bucket = bucket[np.argsort(-self.sizes[bucket], kind="stable")]
            batches += [bucket[i : i + size] for i in range(0, len(bucket), size)]
        return [batches[i] for i in rng.permutation(len(batches))]
