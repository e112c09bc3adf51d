"""Décrire un exercice et le retrouver par son étiquette.

Un exercice se décrit dans `llmbook/exercises/<section>.py` :

    cosine = Exercise("ex-vecteurs-cosinus", title="Similarité cosinus", level="facile",
                      minutes=10, hints=("Le numérateur est un produit scalaire.",))

    @cosine.reference                    # la solution, affichée repliée dans la page
    def cosine_similarity(x, y): ...

    @cosine.cases                        # produit les arguments, un tuple par cas
    def _(rng): ...

    @cosine.trap("Divisez par les deux normes.")      # une erreur plausible, et sa réponse
    def _(x, y): ...

    @cosine.variant                      # une réponse juste, écrite autrement
    def _(x, y): ...

Une étiquette `ex-<section>-<nom>` mène au module `llmbook.exercises.<section>`, qui s’importe
avec numpy seul : torch, quand il le faut, s’importe dans les fonctions.
"""

import ast
import difflib
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

LEVELS = ("facile", "moyen", "difficile")
KINDS = ("function", "value")
REGISTRY: dict[str, "Exercise"] = {}


@dataclass(frozen=True)
class Trap:
    """Une erreur plausible, et ce qu’il faut en dire au lecteur."""

    message: str
    function: Callable


@dataclass
class Exercise:
    """Un exercice : sa solution, ses cas, ses pièges et ses variantes.

    kind : « function » (le lecteur écrit une fonction) ou « value » (il donne une valeur ;
    la référence et les pièges la renvoient alors sans argument, et `cases` est inutile).
    compare(got, expected, *args) renvoie None si la réponse convient, sinon une phrase.
    call(answer, *args) dit comment appeler la réponse quand `answer(*args)` ne suffit pas :
    une classe à instancier, une fonction qui modifie ses arguments.
    timeout_s vaut pour tous les cas ensemble ; memory_mb borne ce que la réponse alloue.
    """

    label: str
    _: KW_ONLY
    title: str
    level: str
    minutes: int
    hints: tuple[str, ...]
    kind: str = "function"
    rtol: float = 1e-6
    atol: float = 1e-9
    compare: Callable | None = None
    call: Callable | None = None
    timeout_s: float = 5.0
    memory_mb: int = 2048
    solution: Callable | None = field(default=None, init=False)
    traps: list[Trap] = field(default_factory=list, init=False)
    variants: list[Callable] = field(default_factory=list, init=False)
    _cases: Callable | None = field(default=None, init=False, repr=False)

    def __post_init__(self):
        if not re.fullmatch(r"ex(-[a-z0-9]+){2,}", self.label):
            raise ValueError(f"étiquette {self.label!r} : la forme est ex-<section>-<nom>")
        if self.level not in LEVELS:
            raise ValueError(f"{self.label} : level={self.level!r}, attendu {', '.join(LEVELS)}")
        if self.kind not in KINDS:
            raise ValueError(f"{self.label} : kind={self.kind!r}, attendu {', '.join(KINDS)}")
        if isinstance(self.hints, str) or not self.hints:
            raise ValueError(f"{self.label} : hints est un tuple d’au moins une phrase")
        REGISTRY[self.label] = self

    def reference(self, function: Callable) -> Callable:
        """Décorateur : la solution."""
        self.solution = function
        return function

    def cases(self, function: Callable) -> Callable:
        """Décorateur : un générateur de tuples d’arguments, à partir d’un `rng` de graine fixe."""
        self._cases = function
        return function

    def trap(self, message: str) -> Callable:
        """Décorateur : une réponse fausse mais plausible, avec le message qui l’explique."""

        def register(function: Callable) -> Callable:
            self.traps.append(Trap(message, function))
            return function

        return register

    def variant(self, function: Callable) -> Callable:
        """Décorateur : une réponse juste, écrite tout autrement."""
        self.variants.append(function)
        return function

    def arguments(self) -> list[tuple]:
        """Les arguments de chaque cas, toujours les mêmes."""
        if self.kind == "value" or self._cases is None:
            return [()]
        cases = self._cases(np.random.default_rng(0))
        return [case if isinstance(case, tuple) else (case,) for case in cases]

    def section(self) -> str | None:
        """Le nom de sa section, ou None si l’exercice n’est pas du livre (un essai, un test)."""
        package, _, module = self.solution.__module__.rpartition(".")
        return module.replace("_", "-") if package == "llmbook.exercises" else None

    def parameters(self, count: int) -> list[str]:
        """Les noms des arguments, tels que la solution (ou `call`) les nomme."""
        names = list(inspect.signature(self.call or self.solution).parameters)
        names = names[1:] if self.call else names
        return names[:count] + [f"argument {i + 1}" for i in range(len(names), count)]


def lookup(label: str) -> Exercise:
    """L’exercice de cette étiquette ; importe le module de sa section au besoin."""
    if label not in REGISTRY:
        for section in sections():
            if label.startswith(f"ex-{section.replace('_', '-')}-"):
                importlib.import_module(f"llmbook.exercises.{section}")
    if label not in REGISTRY:
        known = {exercise.label for exercise in load_all()}
        close = difflib.get_close_matches(label, known, n=3, cutoff=0.5)
        remedy = f" Vouliez-vous dire {' ou '.join(close)} ?" if close else ""
        raise UnknownExercise(f"aucun exercice ne s’appelle {label!r}.{remedy}")
    return REGISTRY[label]


class UnknownExercise(LookupError):
    """L’étiquette ne correspond à aucun exercice du livre."""


def sections() -> list[str]:
    """Les sections qui ont des exercices, par ordre alphabétique."""
    package = importlib.import_module("llmbook.exercises")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load_all() -> list[Exercise]:
    """Tous les exercices du livre, section par section, dans l’ordre de leurs modules."""
    for section in sections():
        importlib.import_module(f"llmbook.exercises.{section}")
    return list(REGISTRY.values())


def sources(label: str) -> str:
    """Le code de la solution, sans décorateur ni marge."""
    text = textwrap.dedent(inspect.getsource(lookup(label).solution))
    definition = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[definition.lineno - 1 : definition.end_lineno])


def metadata(label: str) -> dict:
    """Ce qu’une page affiche d’un exercice : label, title, level, minutes, hints, source."""
    found = lookup(label)
    return {"label": label, "title": found.title, "level": found.level, "minutes": found.minutes,
            "hints": len(found.hints), "source": sources(label)}  # fmt: skip
