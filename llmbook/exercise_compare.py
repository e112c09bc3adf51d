"""Comparer une réponse à la référence et la montrer.

`mismatch` dit en quoi deux valeurs diffèrent ; `describe` les montre en abrégé.
"""

import numbers
import re
import textwrap
from collections.abc import Mapping

import numpy as np

SHOWN_VALUES = 24


def as_array(value: object) -> np.ndarray | None:
    """La valeur comme tableau de nombres, ou None si elle n’en est pas un."""
    if hasattr(value, "detach"):  # un tenseur torch
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return None
    if not isinstance(value, (np.ndarray, numbers.Number, np.generic, list, tuple)):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # des listes de longueurs inégales
        return None
    return array if array.dtype.kind in "biufc" else None


# --- En quoi deux valeurs diffèrent


def mismatch(got: object, expected: object, rtol: float, atol: float, at: str = "") -> str | None:
    """La première différence, en une phrase ; None si les valeurs s’accordent."""
    place = f"en {at}, " if at else ""
    target = as_array(expected)
    if target is not None:
        return _array_mismatch(got, expected, target, rtol, atol, place)
    if isinstance(expected, np.ndarray) and isinstance(got, np.ndarray):  # des textes, des objets
        expected, got = expected.tolist(), got.tolist()
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(got) != len(expected):
            return f"{place}{len(got)} éléments au lieu de {len(expected)}"
        parts = (mismatch(g, e, rtol, atol, f"{at}[{i}]")
                 for i, (g, e) in enumerate(zip(got, expected, strict=True)))  # fmt: skip
        return next((part for part in parts if part), None)
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return _mapping_mismatch(got, expected, rtol, atol, at, place)
    if type(got) is not type(expected) and kind(got) != kind(expected):
        return f"{place}{kind(got)} au lieu de {kind(expected)}"
    if isinstance(expected, str) and got != expected:
        first = next((i for i, (g, e) in enumerate(zip(got, expected, strict=False)) if g != e),
                     min(len(got), len(expected)))  # fmt: skip
        return f"{place}les textes diffèrent à partir du caractère {first}"
    return None if got == expected else f"{place}les valeurs diffèrent"


def _array_mismatch(got, expected, target, rtol, atol, place) -> str | None:
    array = as_array(got)
    if array is None or (isinstance(expected, np.ndarray) and isinstance(got, (list, tuple))):
        return f"{place}{kind(got)} au lieu de {kind(expected)}"
    if array.shape != target.shape:
        return f"{place}forme {array.shape} au lieu de {target.shape}"
    rtol, atol = _tolerances(array, target, rtol, atol)
    bad = ~np.isclose(array, target, rtol=rtol, atol=atol, equal_nan=True)
    if not bad.any():
        return None
    wide = complex if "c" in array.dtype.kind + target.dtype.kind else float
    with np.errstate(all="ignore"):
        gap = np.abs(array.astype(wide) - target.astype(wide))
    gap = np.where(bad, np.nan_to_num(gap, nan=np.inf, posinf=np.inf), 0)
    where = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
    if not where:
        return f"{place}{gap.max():.2g}"
    spot = ", ".join(map(str, where))
    wrong = f"{bad.sum()} valeurs fausses sur {bad.size}"
    return f"{place}{gap.max():.2g} au plus, en [{spot}] ; {wrong}"


def _tolerances(array, target, rtol, atol) -> tuple[float, float]:
    """Un calcul en 32 ou 16 bits a droit aux arrondis de son format."""
    floats = [a.dtype.itemsize for a in (array, target) if a.dtype.kind == "f"]
    smallest = min(floats, default=8)
    return {4: (max(rtol, 1e-5), max(atol, 1e-6)),
            2: (max(rtol, 1e-2), max(atol, 1e-3))}.get(smallest, (rtol, atol))  # fmt: skip


def _mapping_mismatch(got, expected, rtol, atol, at, place) -> str | None:
    missing = [key for key in expected if key not in got]
    extra = [key for key in got if key not in expected]
    if missing or extra:
        return f"{place}clé {'manquante' if missing else 'en trop'} : {(missing or extra)[0]!r}"
    parts = (mismatch(got[key], expected[key], rtol, atol, f"{at}[{key!r}]") for key in expected)
    return next((part for part in parts if part), None)


# --- Montrer une valeur


def kind(value: object) -> str:
    """Le type d’une valeur, dit en français."""
    if value is None:
        return "None"
    if hasattr(value, "detach"):
        return "tenseur torch"
    for types, name in ((np.ndarray, "tableau numpy"), ((bool, np.bool_), "booléen"),
                        (numbers.Integral, "entier"), (numbers.Number, "nombre"), (str, "texte"),
                        (bytes, "octets"), (list, "liste"), (tuple, "tuple"),
                        (Mapping, "dictionnaire"), ((set, frozenset), "ensemble")):  # fmt: skip
        if isinstance(value, types):
            return name
    return "fonction" if callable(value) else type(value).__name__


def describe(value: object, indent: int = 0) -> str:
    """Type, forme et valeurs en abrégé, sans rien qui change d’une exécution à l’autre."""
    array = as_array(value)
    if array is not None and (array.ndim or isinstance(value, np.ndarray)):
        shape = f"{array.shape} {array.dtype}" if not isinstance(value, (list, tuple)) else (
            f"de {len(value)}")  # fmt: skip
        text = np.array2string(array, precision=4, separator=", ", threshold=SHOWN_VALUES,
                               edgeitems=2 if array.ndim > 1 else 3)  # fmt: skip
        rows = text.splitlines()
        if len(rows) > 1:
            rows = [*rows[:6], " …"] if len(rows) > 7 else rows
            text = "\n" + textwrap.indent("\n".join(rows), " " * indent)
        else:
            text = " " + text
        return f"{kind(value)} {shape} :{text}"
    if isinstance(value, (bool, np.bool_)) or value is None:
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"entier {value}"
    if isinstance(value, numbers.Number):
        return f"nombre {value:.6g}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(describe(v) for v in value[:3])
        inside = " ".join(inside.split())
        return _cut(f"{kind(value)} de {len(value)} : {inside}{', …' if len(value) > 3 else ''}")
    if callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        return f"fonction {name}" if name != "<lambda>" else "fonction lambda"
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
        return _cut(f"ensemble de {len(value)} : {', '.join(map(repr, value))}")
    try:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    except Exception:
        text = type(value).__name__
    return _cut(f"{kind(value)} {text}")


def _cut(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
