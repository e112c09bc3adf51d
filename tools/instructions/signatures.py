"""Les familles dont la réponse se lit dans une signature : default, required, parameter…

Chaque fonction reçoit une entrée et un générateur, et renvoie une ébauche, ou None si la question
n’a pas de sens pour elle.
"""

import inspect
import random
from dataclasses import dataclass, field

from tools.instructions.inspection import Entry
from tools.instructions.phrasings import ANSWERS

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
VARIABLES = """texte donnees chemin valeur liste element nom ligne message fichier resultat ligne
    contenu mots nombre tableau source cible x y""".split()
OBJECTS = "objet instance machin truc obj courant autre client reponse boite".split()
FLAGS = ("True", "False")


@dataclass
class Draft:
    """Une question à formuler : `kind` choisit les formulations, `values` les remplit.

    answer : la réponse courte ; reply : la phrase qui la porte ; extra : champs à ajouter.
    """

    family: str
    key: str
    kind: str
    values: dict[str, str]
    answer: str
    reply: str
    held: bool = False
    extra: dict = field(default_factory=dict)


def draft(entry: Entry, family: str, kind: str, answer: str, template: str, **values) -> Draft:
    """L’ébauche d’une question sur la signature d’une entrée."""
    values = {"s": entry.signature, "f": entry.name, **values}
    reply = ANSWERS[template].format(r=answer, **values)
    return Draft(
        family, entry.name, kind, values, answer, reply, entry.held, {"signature": entry.signature}
    )


def default(entry: Entry, rng: random.Random) -> Draft | None:
    """La valeur par défaut d’un paramètre ; None est souvent écarté, il est trop fréquent."""
    optional = [p for p in entry.parameters or () if p.default is not p.empty]
    told = [p for p in optional if p.default is not None and "`" not in repr(p.default)]
    chosen = told if told and rng.random() < 0.9 else optional
    if not chosen or (not told and rng.random() < 0.75):
        return None
    parameter = rng.choice(chosen)
    value = repr(parameter.default)
    if len(value) > 40 or "`" in value or "\n" in value or not value.isascii():
        return None
    return draft(entry, "default", "default", value, "default", p=parameter.name)


def required(entry: Entry, rng: random.Random) -> Draft | None:
    """Les paramètres sans valeur par défaut, dans l’ordre, séparés par des virgules."""
    parameters = entry.parameters or ()
    if not parameters or any(p.kind in VARIADIC for p in parameters):
        return None
    names = [p.name for p in parameters if p.default is p.empty]
    if len(names) > 4 or (len(names) == len(parameters) and rng.random() < 0.7):
        return None
    template = ("required_none", "required_one", "required")[min(len(names), 2)]
    return draft(entry, "required", "required", ", ".join(names) or "aucun", template)


def parameter(entry: Entry, rng: random.Random) -> Draft | None:
    """Le premier, le deuxième, le dernier paramètre, ou celui qui suit un autre."""
    parameters = [p for p in entry.parameters or () if p.kind not in VARIADIC]
    if len(parameters) < 2 or len(parameters) != len(entry.parameters):
        return None
    which = rng.choice(("first", "second", "last", "after"))
    place = {"first": 0, "second": 1, "last": len(parameters) - 1}.get(which)
    values = {}
    if which == "after":
        place = rng.randrange(1, len(parameters))
        values = {"p": parameters[place - 1].name}
    kind = f"parameter_{which}"
    if which == "first" and parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return draft(entry, "parameter", kind, parameters[place].name, kind, **values)


def keyword_only(entry: Entry, rng: random.Random) -> Draft | None:
    """Un paramètre se passe-t-il seulement par son nom ? Autant de oui que de non, à peu près."""
    named = [p for p in entry.parameters or () if p.kind is p.KEYWORD_ONLY]
    others = [p for p in entry.parameters or () if p.kind is p.POSITIONAL_OR_KEYWORD]
    if not named and rng.random() < 0.97:
        return None
    answer = "oui" if named and (not others or rng.random() < 0.75) else "non"
    pool = named if answer == "oui" else others
    if not pool:
        return None
    return draft(
        entry,
        "keyword_only",
        "keyword_only",
        answer,
        f"keyword_only_{answer}",
        p=rng.choice(pool).name,
    )


def count(entry: Entry, rng: random.Random) -> Draft | None:
    """Combien de paramètres, de un à six, cités dans la réponse."""
    parameters = entry.parameters or ()
    if not 1 <= len(parameters) <= 6 or any(p.kind in VARIADIC for p in parameters):
        return None
    if len(parameters) == 1 and rng.random() < 0.7:
        return None
    names = enumeration([f"`{p.name}`" for p in parameters])
    template = "count" if len(parameters) > 1 else "count_one"
    return draft(entry, "count", "count", str(len(parameters)), template, c=names)


def call(entry: Entry, rng: random.Random) -> Draft | None:
    """Un appel à écrire ; `inspect.Signature.bind` vérifie qu’il convient."""
    parameters = entry.parameters or ()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in VARIADIC]
    if not 1 <= len(needed) <= 2 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        return None
    x, y = rng.sample(VARIABLES, 2)
    values = {"x": x, "y": y, "n": entry.short}
    if entry.kind == "méthode":
        if len(needed) != 1 or rng.random() < 0.75:
            return None
        kind, code = "call_method", f"{(o := rng.choice(OBJECTS))}.{entry.short}({x})"
        values |= {"o": o, "k": entry.owner}
        given, named = [x], {}
    else:
        optional = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        optional = [(p, other(p.default, rng)) for p in optional if p.default is not p.empty]
        optional = [(p, value) for p, value in optional if value is not None]
        if len(needed) == 2:
            kind, given, named = "call_two", [x, y], {}
        elif optional:
            chosen, value = rng.choice(optional)
            kind, given, named = "call_one", [x], {chosen.name: value}
            values |= {"p": chosen.name, "v": value}
        else:
            kind, given, named = "call_plain", [x], {}
        code = f"{entry.name}({', '.join(given + [f'{k}={v}' for k, v in named.items()])})"
    inspect.Signature(parameters).bind(*given, **named)
    return draft(entry, "call", kind, code, "call", **values)


def other(value: object, rng: random.Random) -> str | None:
    """Le code d’une valeur du même genre que ce défaut, différente de lui ; None sans idée."""
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int):
        return repr(rng.choice([n for n in (1, 2, 3, 5, 8, 10, 16, 20, 40, 64, 100) if n != value]))
    if isinstance(value, float):
        return repr(rng.choice([n for n in (0.5, 1.5, 2.0, 2.5, 10.0) if n != value]))
    if isinstance(value, str):
        return repr(
            rng.choice([s for s in ("abc", "utf-8", "strict", "w", "-", "x") if s != value])
        )
    return None


def enumeration(names: list[str]) -> str:
    """`a`, `b` et `c`."""
    return " et ".join(filter(None, (", ".join(names[:-1]), names[-1])))


SIGNATURES = {
    "default": default,
    "required": required,
    "parameter": parameter,
    "keyword_only": keyword_only,
    "count": count,
}
