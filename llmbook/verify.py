"""Vérifier une équation numérotée du livre, par le calcul, dans la page qui l’énonce."""

import numpy as np


def verify(label: str, left, right=None, *, tol: float = 1e-9, rtol: float = 0.0) -> None:
    """Compare les deux membres de l’équation `label`, puis imprime une ligne stable.

    left, right : nombres, tableaux ou tenseurs, de même forme (ou l’un des deux scalaire).
    Sans `right`, `left` est une condition : toutes ses valeurs doivent être vraies.
    L’égalité demandée est |left - right| <= tol + rtol |right|, comme `numpy.allclose`.

    AssertionError si l’équation est fausse : le message donne le plus grand écart et sa place.
    ValueError si la comparaison n’a pas de sens : formes différentes, tableau vide, étiquette mal
    formée. L’écart mesuré n’est pas imprimé : il varie d’une machine à l’autre.
    """
    if not label.startswith("eq-"):
        raise ValueError(f"l’étiquette d’une équation commence par « eq- » : {label!r}")
    if not (0 <= tol < np.inf and 0 <= rtol < np.inf):
        raise ValueError(f"tolérances finies et positives attendues : tol={tol}, rtol={rtol}")
    left = _array(left)
    if right is None:
        _check_true(label, left)
        print(f"vérifié · {label} : vrai dans {_count(left.size, 'cas', 'cas')}")
    else:
        right = _array(right)
        _check_equal(label, left, right, tol, rtol)
        size = _count(max(left.size, right.size), "valeur", "valeurs")
        print(f"vérifié · {label} : {_precision(tol, rtol)} sur {size}")


def _check_true(label: str, condition: np.ndarray) -> None:
    if condition.dtype != bool:
        raise ValueError(f"{label} : sans second membre, une condition booléenne est attendue")
    _require_values(label, condition)
    if not condition.all():
        where = _position(condition, np.argmin(condition))
        false = _count(int((~condition).sum()), "cas", "cas")
        raise AssertionError(f"{label} est faux dans {false} sur {condition.size}, d’abord {where}")


def _check_equal(label, left, right, tol, rtol) -> None:
    if left.shape != right.shape and left.ndim and right.ndim:
        raise ValueError(f"{label} : formes différentes, {left.shape} et {right.shape}")
    left, right = np.broadcast_arrays(left, right)
    _require_values(label, left)
    left, right = _widen(left), _widen(right)
    allowed = tol + rtol * np.abs(np.where(np.isfinite(right), right, 0.0))
    with np.errstate(invalid="ignore"):  # inf - inf : traité par l’égalité
        gap = np.where(left == right, 0.0, np.abs(left - right))
    excess = np.where(np.isnan(gap), np.inf, gap - allowed)  # un nan n’est égal à rien
    if (excess > 0).any():
        worst = int(np.argmax(excess))
        raise AssertionError(
            f"{label} est faux : écart de {gap.flat[worst]:.3g} {_position(gap, worst)} "
            f"(à gauche {left.flat[worst]:.6g}, à droite {right.flat[worst]:.6g} ; "
            f"toléré : {allowed.flat[worst]:.3g})"
        )


def _array(x) -> np.ndarray:
    """Tableau numpy, depuis un nombre, une liste, un tenseur torch ou des `Value`."""
    if hasattr(x, "detach"):  # tenseur torch, bf16 et GPU compris
        x = x.detach().cpu().tolist()
    x = np.asarray(x)
    return x.astype(float) if x.dtype == object else x


def _widen(x: np.ndarray) -> np.ndarray:
    return x.astype(complex if np.iscomplexobj(x) else float)


def _require_values(label: str, x: np.ndarray) -> None:
    if x.size == 0:
        raise ValueError(f"{label} : aucune valeur à comparer")


def _position(x: np.ndarray, flat: int) -> str:
    if x.ndim == 0:
        return "pour la seule valeur"
    return f"à l’indice {tuple(int(i) for i in np.unravel_index(flat, x.shape))}"


def _precision(tol: float, rtol: float) -> str:
    if tol == rtol == 0:
        return "égalité exacte"
    absolute = f"{tol:g}" if tol else ""
    relative = f"{100 * rtol:g} %" if rtol else ""
    return f"égalité à {' + '.join(filter(None, (absolute, relative)))} près"


def _count(n: int, singular: str, plural: str) -> str:
    return f"{n:,} {plural if n > 1 else singular}".replace(",", " ")
