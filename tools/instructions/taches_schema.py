"""Un schéma de tâche : des consignes, un nom, une solution, des paramètres.

Un schéma et un choix de ses paramètres font une *clé*, donc une fonction. `{k}` dans un modèle de
texte est remplacé par le paramètre k ; `{k__mot}` par « trois », `{k__ieme}` par « troisième »,
`{k__code}` par son écriture en Python. Un paramètre dont le nom commence par `_` ne fait pas partie
de la clé : il se déduit des autres. Toute autre accolade reste telle quelle.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

WORDS = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
).split()
ORDINALS = (
    "zéroième premier deuxième troisième quatrième cinquième sixième septième huitième neuvième "
    "dixième onzième douzième"
).split()

# Une formulation est un groupe nominal (« les trois premiers mots du texte »), une condition
# (« si le texte est vide »), une relative (« qui … ») ou une phrase entière, où `{sig}` figure.
NOUN_FRAMES = (
    "Écris une fonction `{sig}` qui renvoie {what}.",
    "Écrivez la fonction `{sig}`, qui renvoie {what}.",
    "Définis une fonction `{sig}` qui donne {what}.",
    "Programme `{sig}` : la fonction renvoie {what}.",
    "J’ai besoin d’une fonction `{sig}` qui renvoie {what}.",
    "En Python, écris `{sig}` pour obtenir {what}.",
    "Comment écrire `{sig}`, une fonction qui renvoie {what} ?",
)
IF_FRAMES = (
    "Écris une fonction `{sig}` qui dit {what}.",
    "Écrivez la fonction `{sig}`, qui renvoie True {what}, False sinon.",
    "Définis une fonction `{sig}` qui indique {what}.",
    "Programme `{sig}` pour savoir {what}.",
    "J’ai besoin d’une fonction `{sig}` qui teste {what}.",
    "Comment écrire `{sig}`, une fonction qui dit {what} ?",
)
WHO_FRAMES = (
    "Écris une fonction `{sig}` {what}.",
    "Écrivez la fonction `{sig}`, {what}.",
    "Définis une fonction `{sig}` {what}.",
    "J’ai besoin d’une fonction `{sig}` {what}.",
    "Comment écrire `{sig}`, une fonction {what} ?",
)
# Un complément placé avant le groupe nominal : « renvoie, au format ISO, le lundi… ».
ASIDE = r"(au|en|dans|après|à|de 0|pour chaque|avec) "
# Ce qu’une solution peut employer, et d’où cela vient.
IMPORTS = {
    "date": "datetime",
    "datetime": "datetime",
    "timedelta": "datetime",
    "monthrange": "calendar",
    "isleap": "calendar",
    "gcd": "math",
    "lcm": "math",
    "isqrt": "math",
    "prod": "math",
    "accumulate": "itertools",
    "Counter": "collections",
}


@dataclass(frozen=True)
class Schema:
    """Une famille de fonctions ; `kind` dit sur quel genre d’arguments les essayer.

    names, phrases : au choix, par empreinte de la clé ; body : une expression, ou plusieurs lignes
    qui finissent par `return` ; above : constantes placées avant la fonction ; params : un
    dictionnaire par clé ; extra(params) : arguments de plus, propres à la clé ; new : le schéma
    entier n’apparaît qu’en test.
    """

    name: str
    kind: str
    level: int
    names: tuple[str, ...]
    phrases: tuple[str, ...]
    body: str
    params: list[dict] = field(default_factory=lambda: [{}])
    above: str = ""
    args: str = ""
    extra: Callable[[dict], list[tuple]] = lambda params: []
    limit: int = 12
    new: bool = False


def grid(**values: Iterable) -> list[dict]:
    """Toutes les combinaisons : grid(a=(1, 2), b="xy") en donne quatre."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def draw(key: str, salt: str, n: int) -> int:
    """Un entier de 0 à n − 1, toujours le même pour cette clé et cet usage."""
    digest = hashlib.blake2b(f"{salt}|{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % n


def fill(text: str, params: dict) -> str:
    """Remplace les paramètres de `text` ; les accolades inconnues restent."""

    def value(match: re.Match) -> str:
        name, _, form = match[1].partition("__")
        if name not in params:
            return match[0]
        param = params[name]
        if form == "code":
            return json.dumps(param, ensure_ascii=False)
        if form == "mot":
            return WORDS[param] if param < len(WORDS) else str(param)
        if form == "ieme":
            return ORDINALS[param]
        return fill(str(param), params)

    return re.sub(r"\{(\w+)\}", value, text)


def key_of(domain: str, schema: Schema, params: dict) -> str:
    shown = ", ".join(f"{name}={value}" for name, value in params.items() if name[0] != "_")
    return f"{domain}.{schema.name}({shown})"


def solution_of(schema: Schema, name: str, args: str, params: dict) -> str:
    """Le code complet : imports, constantes, fonction."""
    body = fill(schema.body, params)
    lines = body.split("\n") if "return " in body else [f"return {body}"]
    function = f"def {name}({args}):\n" + "\n".join(f"    {line}" for line in lines)
    above = fill(schema.above, params)
    return with_imports("\n\n\n".join(filter(None, (above, function))))


def with_imports(code: str) -> str:
    """Ajoute en tête les imports dont le code a besoin (table IMPORTS)."""
    bare = re.sub(r'"[^"]*"', "", code)
    modules: dict[str, list[str]] = {}
    for word, module in IMPORTS.items():
        if re.search(rf"(?<![\w.]){word}[.(]", bare):
            modules.setdefault(module, []).append(word)
    lines = [f"from {module} import {', '.join(words)}" for module, words in modules.items()]
    if not lines:
        return code
    blank = "\n\n" if code[0].isupper() else "\n\n\n"
    return "\n".join(lines) + blank + code


def instruction_of(schema: Schema, key: str, signature: str, params: dict) -> str:
    """La consigne : une formulation du schéma, dans une tournure."""
    what = fill(schema.phrases[draw(key, "formulation", len(schema.phrases))], params)
    what = re.sub(r"\bde (?=[aeiouéèœ]\w\w)(?!onze)", "d’", what)  # de espaces : d’espaces
    if "{sig}" in what:
        return what.replace("{sig}", signature)
    frames = NOUN_FRAMES
    if re.match(r"s(i |’il )", what):
        frames = IF_FRAMES
    elif what.startswith("qui "):
        frames = WHO_FRAMES
    frame = frames[draw(key, "tournure", len(frames))]
    if re.match(ASIDE, what):
        frame = frame.replace(" {what}", ", {what}")
    return frame.replace("{sig}", signature).replace("{what}", what)
