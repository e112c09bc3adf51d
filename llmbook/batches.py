"""Les lots : découper un long tableau de tokens en suites, mélangées à chaque époque.

Le lot numéro n ne dépend que de la graine et de n. Reprendre un entraînement ne demande donc que
son numéro : aucun générateur à remettre en place, aucun lot à relire.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

FIN = 0  # <|fin|> du tokeniseur du livre


def pack(
    documents: Iterable[Sequence[int]], context: int = 1, *, fin: int = FIN, numbered: bool = False
):
    """Met les documents bout à bout, chacun terminé par `fin` : un tableau plat (N,).

    uint16 si tous les numéros y tiennent, uint32 sinon. numbered : renvoie aussi le numéro du
    document de chaque token, (N,) int32. ValueError si le tout ne remplit pas une suite de
    `context` tokens et sa cible, ou si un numéro est négatif.

    Par défaut, une suite contient la fin d’un document et le début d’un autre, et le modèle voit
    les deux : <|fin|> lui apprend à oublier ce qui précède (GPT-2, nanoGPT). Pour l’interdire,
    donnez `document_mask` de ces numéros à l’attention.
    """
    pieces, lengths = [], []
    for document in documents:
        ids = np.asarray(document)
        if ids.size and not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"document de type {ids.dtype} : des numéros de tokens sont attendus")
        if ids.size and ids.min() < 0:
            raise ValueError(f"token {ids.min()} : un numéro de token est positif")
        pieces += [ids.astype(np.uint32), np.array([fin], np.uint32)]
        lengths.append(ids.size + 1)
    flat = np.concatenate(pieces) if pieces else np.empty(0, np.uint32)
    _check_length(len(flat), context)
    if flat.max() < 2**16:
        flat = flat.astype(np.uint16)
    if not numbered:
        return flat
    return flat, np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def document_mask(numbers: Tensor) -> Tensor:
    """Qui est du même document : numéros (B, T) -> booléens (B, 1, T, T), pour `sdpa(mask=…)`.

    La causalité s’y ajoute : sdpa(q, k, v, causal=True, mask=document_mask(numbers)).
    """
    return (numbers[:, :, None] == numbers[:, None, :])[:, None]


class Batches:
    """Suite sans fin de lots (inputs, targets), deux (B, T) int64 ; targets est décalé d’un token.

    tokens : tableau plat d’entiers (N,), `np.memmap` permis : seules les suites demandées sont
    lues. Une époque coupe le tableau, vu comme un cercle, en N // T suites, à partir d’un point
    tiré au sort, et les donne toutes une fois dans un ordre tiré au sort ; les coupures changent
    donc d’une époque à l’autre.

    batch_size : suites du lot, tous processus ensemble ; le processus `rank` parmi `world_size` en
    reçoit sa part, contiguë. `at(n)` donne le lot n ; itérer part de `position`.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        batch_size: int,
        context: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        tokens = tokens if isinstance(tokens, np.ndarray) else np.asarray(tokens)
        if tokens.ndim != 1 or (tokens.size and not np.issubdtype(tokens.dtype, np.integer)):
            raise ValueError(
                f"tokens {tokens.dtype} de forme {tokens.shape} : un tableau plat d’entiers est "
                "attendu ; `pack` met des documents bout à bout"
            )
        if batch_size < 1 or context < 1:
            raise ValueError(f"batch_size={batch_size}, context={context} : au moins 1 est attendu")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} : un rang entre 0 et {world_size - 1} est attendu")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} ne se partage pas entre {world_size} processus : "
                "prenez-en un multiple"
            )
        _check_length(len(tokens), context)
        self.tokens, self.batch_size, self.context = tokens, batch_size, context
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.per_epoch = len(tokens) // context  # suites
        self.position = 0
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def at(self, n: int) -> tuple[Tensor, Tensor]:
        """Le lot numéro n, n ≥ 0 : la part de ce processus."""
        share = self.batch_size // self.world_size
        first = n * self.batch_size + self.rank * share
        rows = np.stack([self._sequence(number) for number in range(first, first + share)])
        rows = torch.from_numpy(rows)  # (B, T + 1)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            batch = self.at(self.position)
            self.position += 1
            yield batch

    def state_dict(self) -> dict:
        """Position et identité des données : de quoi reprendre, et refuser d’autres données."""
        return {"position": self.position} | self.identity()

    def load_state_dict(self, state: dict) -> None:
        """Reprend à la position d’un `state_dict` ; ValueError si les données sont autres."""
        self.check_identity(state)
        self.position = state["position"]

    def identity(self) -> dict:
        """Ce dont dépendent les lots ; ni le rang, ni le nombre de processus."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "context": self.context,
            "tokens": len(self.tokens),
            "digest": _digest(self.tokens),
        }

    def check_identity(self, saved: dict) -> None:
        """ValueError si ces lots ne sont pas ceux que décrit `saved`."""
        mine = self.identity()
        changed = [
            f"{name} : {saved.get(name)} → {mine[name]}"
            for name in mine
            if saved.get(name) != mine[name]
        ]
        if changed:
            raise ValueError(
                f"les données ont changé depuis le point de reprise ({' ; '.join(changed)}) : "
                "reprenez avec les mêmes, ou commencez un autre dossier"
            )

    def check_vocabulary(self, vocab_size: int) -> None:
        """ValueError si un token dépasse le vocabulaire ; lit tout le tableau, une fois."""
        for start in range(0, len(self.tokens), 2**24):
            piece = self.tokens[start : start + 2**24]
            low, high = int(piece.min()), int(piece.max())
            if low < 0 or high >= vocab_size:
                raise ValueError(
                    f"tokens entre {low} et {high} : le vocabulaire va de 0 à {vocab_size - 1}. "
                    "Ce tokeniseur est-il celui du modèle ?"
                )

    def _sequence(self, number: int) -> np.ndarray:
        """La suite `number` depuis le début de l’entraînement : (T + 1,) int64."""
        epoch, index = divmod(number, self.per_epoch)
        if epoch not in self._orders:
            rng = np.random.default_rng([self.seed, epoch])
            order = int(rng.integers(len(self.tokens))), rng.permutation(self.per_epoch)
            kept = {e: o for e, o in self._orders.items() if abs(e - epoch) <= 1}
            self._orders = kept | {epoch: order}
        offset, order = self._orders[epoch]
        start = (offset + int(order[index]) * self.context) % len(self.tokens)
        piece = self.tokens[start : start + self.context + 1].astype(np.int64)
        missing = self.context + 1 - len(piece)  # au bout du cercle, le début
        return np.concatenate([piece, self.tokens[:missing].astype(np.int64)]) if missing else piece


def _check_length(length: int, context: int) -> None:
    if length == 0:
        raise ValueError("aucun token : le corpus est vide")
    if length < context + 1:
        raise ValueError(
            f"{length} tokens pour des suites de {context} et leur cible : il en faut au moins "
            f"{context + 1} ; réduisez context ou donnez plus de texte"
        )


def _digest(tokens: np.ndarray) -> str:
    """Empreinte de 64 extraits répartis : reconnaît un corpus sans le relire en entier."""
    digest, size = hashlib.blake2b(digest_size=16), 4096
    for start in np.linspace(0, max(0, len(tokens) - size), 64).astype(int):
        digest.update(tokens[start : start + size].astype("<u4").tobytes())
    return digest.hexdigest()
