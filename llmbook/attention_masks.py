"""Qui voit quelle clé, et avec quel biais : masque causal, fenêtre, remplissage, ALiBi.

Les trois attentions de `llmbook.attention` lisent les mêmes règles, par tuile : aucune n’a besoin
de la matrice T × S entière pour savoir ce qu’elle a le droit de regarder.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """Les règles de T requêtes face à S clés. Les requêtes sont les T dernières positions."""

    T: int
    S: int
    device: torch.device
    causal: bool
    window: int | None  # clés visibles par requête, elle-même comprise
    mask: Tensor | None  # (B|1, H|1, T|1, S|1), vrai : visible
    bias: Tensor | None  # (B|1, H|1, T|1, S|1)
    alibi: Tensor | None  # (H,)

    @property
    def free(self) -> bool:
        """Rien à cacher ni à ajouter : ni masque, ni biais, et toute clé est à sa place."""
        hides = self.mask is not None or self.window is not None or (self.causal and self.T > 1)
        return not hides and self.bias is None and self.alibi is None

    def reach(self, rows: slice) -> tuple[int, int]:
        """Premières et dernières clés (exclue) que ces requêtes peuvent voir."""
        past = self.S - self.T
        first = max(0, past + rows.start - self.window + 1) if self.window else 0
        return first, past + rows.stop if self.causal else self.S

    def hidden(self, rows: slice, keys: slice) -> Tensor | None:
        """Les couples cachés de cette tuile, diffusable à (B, H, t, s) ; None si tout est visible.

        Une tuile entière sous la diagonale n’a rien à cacher : c’est le cas le plus fréquent.
        """
        newest, oldest = self.S - self.T + rows.stop - 1, self.S - self.T + rows.start
        found = []
        if self.causal and keys.stop - 1 > oldest:
            found.append(self.distance(rows, keys) < 0)
        if self.window and newest - keys.start >= self.window:
            found.append(self.distance(rows, keys) >= self.window)
        if self.mask is not None:
            found.append(~tile(self.mask, rows, keys))
        return None if not found else found[0] if len(found) == 1 else _any(found)

    def added(self, rows: slice, keys: slice) -> Tensor | None:
        """Le biais de cette tuile, diffusable à (B, H, t, s) ; None s’il n’y en a pas."""
        if self.alibi is not None:
            return self.alibi[:, None, None] * -self.distance(rows, keys).abs()
        return None if self.bias is None else tile(self.bias, rows, keys)

    def distance(self, rows: slice, keys: slice) -> Tensor:
        """Position de la requête moins position de la clé : (t, s)."""
        past = self.S - self.T
        queries = torch.arange(past + rows.start, past + rows.stop, device=self.device)
        return queries[:, None] - torch.arange(keys.start, keys.stop, device=self.device)


def tile(x: Tensor, rows: slice, keys: slice) -> Tensor:
    """x[…, rows, keys], où une dimension de taille 1 reste entière : elle sera diffusée."""
    everything = slice(None)
    return x[..., rows if x.shape[-2] > 1 else everything, keys if x.shape[-1] > 1 else everything]


def _any(masks: list[Tensor]) -> Tensor:
    result = masks[0]
    for mask in masks[1:]:
        result = result | mask
    return result


# --- ALiBi --------------------------------------------------------------------------------------


def alibi_slopes(n_heads: int) -> Tensor:
    """Pente de chaque tête (ALiBi) : 2^(-8/H), 2^(-16/H), … jusqu’à 2^-8 ; renvoie (H,).

    Quand H n’est pas une puissance de deux, les pentes manquantes sont prises, une sur deux, parmi
    celles de la puissance suivante, comme dans le code des auteurs et dans Bloom.
    Press, Smith et Lewis, 2021, arXiv:2108.12409.
    """
    if n_heads < 1:
        raise ValueError(f"n_heads={n_heads} : au moins une tête est attendue")
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    finer = [2 ** (-4 * (head + 1) / power) for head in range(0, 2 * power, 2)]
    return torch.tensor(slopes + finer[: n_heads - power])


def alibi_bias(n_heads: int, T: int, S: int | None = None) -> Tensor:
    """Biais ALiBi : -pente × distance entre requête et clé ; renvoie (H, T, S).

    Les requêtes sont les T dernières des S positions. `attention_tiled` préfère recevoir
    `alibi=alibi_slopes(n_heads)` : elle calcule ce biais tuile par tuile.
    """
    S = T if S is None else S
    if not 1 <= T <= S:
        raise ValueError(f"T={T} requêtes et S={S} clés : 1 ≤ T ≤ S est attendu")
    cpu = torch.device("cpu")
    rules = Rules(T, S, cpu, False, None, None, None, alibi_slopes(n_heads))
    return rules.added(slice(0, T), slice(0, S))


# --- vérifier -----------------------------------------------------------------------------------


def checked(q: Tensor, k: Tensor, v: Tensor, *, causal, mask, bias, alibi, window) -> Rules:
    """Les règles, si les arguments ne se contredisent pas ; ValueError sinon."""
    _check_shapes(q, k, v)
    _check_devices(q=q, k=k, v=v, mask=mask, bias=bias, alibi=alibi)
    (B, H, T, _), S = q.shape, k.shape[2]
    if causal and T > S:
        raise ValueError(
            f"T={T} requêtes pour S={S} clés : en causal, les requêtes sont les dernières positions "
            "des clés, donc T ≤ S ; passez causal=False pour une attention croisée"
        )
    if window is not None and not causal:
        raise ValueError("window sans causal=True : la fenêtre regarde vers le passé seulement")
    if window is not None and window < 1:
        raise ValueError(f"window={window} : au moins une clé visible est attendue")
    if bias is not None and alibi is not None:
        raise ValueError("bias et alibi ensemble : ajoutez alibi_bias(…) à bias, ou choisissez")
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ValueError(f"mask de type {mask.dtype} : un masque booléen (vrai : visible)")
        _check_broadcast("mask", mask, (B, H, T, S))
    if bias is not None:
        if not bias.is_floating_point():
            raise ValueError(f"bias de type {bias.dtype} : des nombres à virgule sont attendus")
        bias = bias[None] if bias.dim() == 3 else bias
        _check_broadcast("bias", bias, (B, H, T, S))
    if alibi is not None and (
        alibi.shape != (H,) or alibi.requires_grad or not alibi.is_floating_point()
    ):
        raise ValueError(
            f"alibi de forme {tuple(alibi.shape)} : une pente fixe par tête, ({H},), est attendue ; "
            "pour apprendre un biais, passez bias"
        )
    if window is not None and window >= S:
        window = None  # la fenêtre couvre tout
    return Rules(T, S, q.device, causal, window, mask, bias, alibi)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if not q.dim() == k.dim() == v.dim() == 4:
        raise ValueError(f"{shapes} : quatre dimensions (B, H, T, D) sont attendues")
    if 0 in (*q.shape, *k.shape):
        raise ValueError(f"{shapes} : une dimension est vide")
    if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ValueError(
            f"{shapes} : q et k partagent B et D ; k et v partagent B, le nombre de têtes et S"
        )
    if q.shape[1] % k.shape[1]:
        raise ValueError(
            f"{q.shape[1]} têtes de requêtes ne se partagent pas en {k.shape[1]} groupes égaux"
        )
    if not (q.dtype == k.dtype == v.dtype and q.is_floating_point()):
        raise ValueError(
            f"q {q.dtype}, k {k.dtype}, v {v.dtype} : un même type à virgule est attendu"
        )


def _check_devices(**tensors: Tensor | None) -> None:
    places = {name: str(x.device) for name, x in tensors.items() if x is not None}
    if len(set(places.values())) > 1:
        found = ", ".join(f"{name} sur {place}" for name, place in places.items())
        raise ValueError(f"{found} : un seul périphérique est attendu ; déplacez-les avec .to(…)")


def _check_broadcast(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    fits = x.dim() == 4 and all(d in (1, full) for d, full in zip(x.shape, shape, strict=True))
    if not fits:
        raise ValueError(
            f"{name} de forme {tuple(x.shape)} : quatre dimensions sont attendues, égales à 1 ou à "
            f"(B, H, T, S) = {shape} ; un masque de remplissage (B, S) s’écrit mask[:, None, None, :]"
        )
