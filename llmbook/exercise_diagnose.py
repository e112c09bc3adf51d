"""Reconnaître ce qui relie des valeurs fausses aux bonnes : transposée, signe, facteur, carré…

Le vérificateur s’en sert quand aucun piège de l’exercice n’explique la réponse. Ce sont des
conjectures : elles ne regardent que les valeurs, jamais le code.
"""

from collections.abc import Callable

import numpy as np

from llmbook.exercise_compare import as_array

Case = tuple[tuple, object, object]  # (arguments, reçu, attendu)


def diagnose(cases: list[Case]) -> str | None:
    """Ce qui est probablement faux d’après tous les cas en échec, ou None."""
    if all(got is None for _, got, _ in cases):
        return "votre fonction ne renvoie rien (None) : il manque sans doute « return »."
    if any(got is None for _, got, _ in cases):
        return "un des chemins de votre fonction ne renvoie rien (None)."
    if all(isinstance(e, np.ndarray) and isinstance(g, (list, tuple)) for _, g, e in cases):
        return "votre fonction renvoie une liste : convertissez-la avec np.array(…)."
    pairs = [(as_array(got), as_array(expected)) for _, got, expected in cases]
    if any(got is None or expected is None for got, expected in pairs):
        return None
    with np.errstate(all="ignore"):
        return next((found for look in (_non_finite, _shapes, _truncated, _relation, _constant_gap)
                     if (found := look(pairs, [args for args, _, _ in cases]))), None)  # fmt: skip


def _all_close(pairs, transform: Callable) -> bool:
    """Toutes les valeurs reçues sont-elles `transform(attendu)` ?"""
    for got, expected in pairs:
        try:
            wanted = transform(expected)
        except ValueError:
            return False
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=1e-5, atol=1e-8):
            return False
    return True


def _non_finite(pairs, _args) -> str | None:
    got, expected = pairs[0]  # le cas montré au lecteur, et lui seul
    mask = ~np.isfinite(got)
    if not mask.any() or not np.isfinite(expected).all():
        return None
    what = "nan" if np.isnan(got).any() else "inf"
    cause = {
        "nan": "une division 0/0, un logarithme ou une racine d’un nombre négatif, inf - inf",
        "inf": "une division par zéro, un logarithme de 0, une exponentielle trop grande",
    }
    values = f"{mask.sum()} valeur{'s' if mask.sum() > 1 else ''} {what}"
    return f"{values} sur {mask.size} : cherchez {cause[what]}."


def _shapes(pairs, _args) -> str | None:
    wrong = [(got, expected) for got, expected in pairs if got.shape != expected.shape]
    if not wrong:
        square = all(e.ndim == 2 for _, e in pairs)
        return "c’est la transposée du résultat attendu." if square and _all_close(
            pairs, lambda e: e.T) else None  # fmt: skip
    got, expected = wrong[0]
    shapes = f"forme {got.shape} au lieu de {expected.shape}"
    if got.ndim > 1 and _all_close(wrong, lambda e: e.T):
        return f"{shapes} : c’est la transposée du résultat attendu."
    if got.size == expected.size and np.allclose(got.ravel(), expected.ravel(), rtol=1e-5):
        return f"{shapes} : les valeurs sont bonnes, un axe de taille 1 est en trop ou manque."
    if expected.ndim == 1 and got.shape == expected.shape * 2:
        return f"{shapes} : une diffusion (broadcasting) a croisé deux vecteurs."
    if expected.ndim > got.ndim:
        return f"{shapes} : une somme ou une moyenne a réduit un axe de trop (axis ? keepdims ?)."
    if got.ndim > expected.ndim:
        return f"{shapes} : un axe n’a pas été réduit (axis ? produit matriciel ou non ?)."
    return f"{shapes} : suivez la forme de chaque tableau intermédiaire."


def _truncated(pairs, _args) -> str | None:
    whole = all(np.array_equal(expected, np.round(expected)) for _, expected in pairs)
    if whole or sum(got.size for got, _ in pairs) < 2:
        return None
    if _all_close(pairs, np.trunc) or _all_close(pairs, np.floor):
        return "les décimales ont été coupées : un tableau d’entiers (dtype int) ou « // »."
    return "les valeurs sont arrondies à l’entier." if _all_close(pairs, np.round) else None


RELATIONS: tuple[tuple[Callable, str], ...] = (
    (np.negative, "le signe est inversé."),
    (np.abs, "le signe est perdu : ce sont les valeurs absolues."),
    (np.square, "ce sont les carrés des valeurs attendues : une racine carrée manque."),
    (np.sqrt, "ce sont les racines carrées des valeurs attendues : une racine est de trop."),
    (np.exp, "ce sont les exponentielles des valeurs attendues : un logarithme manque."),
    (np.log, "ce sont les logarithmes des valeurs attendues : une exponentielle manque."),
    (np.reciprocal, "ce sont les inverses (1/x) des valeurs attendues."),
    (lambda e: 1 - e, "ce sont les compléments à 1 des valeurs attendues."),
    (lambda e: np.flip(e) if e.ndim else e + np.nan, "les valeurs sont dans l’ordre inverse."),
)


def _relation(pairs, args) -> str | None:
    if sum(got.size for got, _ in pairs) < 2:
        return None  # un seul nombre : tout est coïncidence
    pairs = [(g.astype(complex if g.dtype.kind == "c" else float),
              e.astype(complex if e.dtype.kind == "c" else float)) for g, e in pairs]  # fmt: skip
    found = next((text for change, text in RELATIONS if _all_close(pairs, change)), None)
    if found:
        return found
    if all(e.ndim and np.allclose(np.sort(g, None), np.sort(e, None), rtol=1e-5)
           for g, e in pairs):  # fmt: skip
        return "ce sont les bonnes valeurs, dans un autre ordre."
    return _factor(pairs, args)


CONSTANTS = {2: "2", 0.5: "1/2", 10: "10", 100: "100", 1000: "1000", np.pi: "π", 2 * np.pi: "2π",
             np.sqrt(2): "√2", 1 / np.sqrt(2): "1/√2", 1 / 100: "1/100", 1 / 3: "1/3",
             np.log(2): "ln 2 : logarithme binaire ou naturel ?",
             1 / np.log(2): "1/ln 2 : logarithme binaire ou naturel ?",
             np.log(10): "ln 10", 1 / np.log(10): "1/ln 10"}  # fmt: skip

SIZES: tuple[tuple[Callable, str], ...] = (
    (lambda n: n, "n : une somme à la place d’une moyenne ?"),
    (lambda n: 1 / n, "1/n : une moyenne à la place d’une somme ?"),
    (np.sqrt, "√n"),
    (lambda n: 1 / np.sqrt(n), "1/√n"),
    (lambda n: n / (n - 1), "n/(n - 1) : diviser par n ou par n - 1 ?"),
    (lambda n: (n - 1) / n, "(n - 1)/n : diviser par n ou par n - 1 ?"),
)


def _factor(pairs, args) -> str | None:
    """Le rapport constant entre le reçu et l’attendu : un nombre, ou une taille d’argument."""
    ratios = []
    for got, expected in pairs:
        used = np.abs(expected) > 1e-12
        if not used.any() or not np.allclose(got[~used], 0):
            return None
        ratio = (got[used] / expected[used]).real
        if not np.allclose(ratio, ratio[0], rtol=1e-5):
            return None
        ratios.append(float(ratio[0]))
    if 0 in ratios:
        return "toutes les valeurs reçues sont nulles."
    if len({shape for case in args for shape in _lengths(case).items()}) > len(_lengths(args[0])):
        for slot in _lengths(args[0]):  # la taille change d’un cas à l’autre, et le rapport la suit
            sizes = [_lengths(case).get(slot, 0) for case in args]
            for of_size, name in SIZES:
                if min(sizes) > 1 and np.allclose(ratios, [of_size(n) for n in sizes], rtol=1e-5):
                    return (f"les valeurs sont fausses d’un facteur {name} "
                            f"(n = {sizes[0]} au premier cas en échec).")  # fmt: skip
    if not np.allclose(ratios, ratios[0], rtol=1e-5):
        return None
    name = next((name for c, name in CONSTANTS.items() if np.isclose(ratios[0], c, rtol=1e-5)), "")
    factor = name or f"{ratios[0]:.4g}"
    return f"les valeurs reçues sont celles attendues, multipliées par {factor}."


def _lengths(args: tuple) -> dict[tuple[int, int], int]:
    """La taille de chaque axe de chaque argument : {(argument, axe) : taille}."""
    arrays = ((i, as_array(arg)) for i, arg in enumerate(args))
    return {(i, axis): n for i, array in arrays if array is not None
            for axis, n in enumerate(array.shape)}  # fmt: skip


def _constant_gap(pairs, _args) -> str | None:
    gaps = np.concatenate([(g.astype(complex) - e).ravel() for g, e in pairs]).real
    if gaps.size > 1 and np.allclose(gaps, gaps[0], rtol=1e-5, atol=1e-9):
        return f"toutes les valeurs sont décalées de la même constante : {gaps[0]:+.4g}."
    scale = max(float(np.abs(e).max(initial=0)) for _, e in pairs)
    if gaps.size and np.abs(gaps).max() < 1e-3 * scale:
        return ("le calcul est presque juste : une constante arrondie, un epsilon mal placé "
                "ou trop peu de décimales ?")  # fmt: skip
    return None


# --- Ce que disent les exceptions courantes

EXCEPTIONS = {
    "ArithmeticError": "une opération impossible.",
    "AssertionError": "une de vos propres vérifications (assert) échoue.",
    "AttributeError": "cet attribut n’existe pas : faute de frappe, ou objet d’un autre type.",
    "ImportError": "un import impossible.",
    "IndexError": "un indice sort des bornes : comparez-le à la forme du tableau.",
    "KeyError": "une clé absente du dictionnaire.",
    "MemoryError": "un tableau bien trop grand pour la mémoire : vérifiez les formes.",
    "ModuleNotFoundError": "un module qui n’est pas installé.",
    "NameError": "un nom qui n’est pas défini : faute de frappe ou import oublié.",
    "OverflowError": "un nombre trop grand pour son type.",
    "RecursionError": "la fonction s’appelle elle-même sans fin : il manque un cas d’arrêt.",
    "StdinNotImplementedError": "input() attend une réponse : lisez plutôt vos arguments.",
    "SystemExit": "exit() arrêterait tout le carnet : utilisez return.",
    "TypeError": "une opération entre des types qui ne vont pas ensemble.",
    "UnboundLocalError": "une variable est lue avant d’avoir reçu une valeur.",
    "ValueError": "une valeur refusée, souvent des formes incompatibles.",
    "ZeroDivisionError": "une division par zéro.",
}
