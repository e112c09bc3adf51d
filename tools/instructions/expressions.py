"""La famille doctest : des expressions courtes, évaluées, et les doctests de la bibliothèque.

Chaque expression ne dépend de rien d’autre qu’elle-même ; la réponse est le `repr` de sa valeur.
"""

import ast
import contextlib
import doctest
import io
import random
from collections.abc import Callable

from tools.instructions.inspection import Entry
from tools.instructions.signatures import Draft

WORDS = """chat chien maison soleil lune arbre rivage bateau fleur pomme poire citron pain sucre
    table livre page code test ligne mot texte clef porte jardin route pont train avion nuage
    pluie neige vent feu eau terre sable pierre bois fer rouge vert bleu noir blanc petit grand
    data file path name user node item value key list tree graph model token batch layer""".split()


def expression(rng: random.Random) -> tuple[str, str]:
    """Une expression et, en français, ce qu’elle fait."""
    template, said = rng.choice(FORMS)
    return template(rng), said


def _word(rng: random.Random) -> str:
    return rng.choice(WORDS)


def _words(rng: random.Random, low: int = 2, high: int = 4) -> list[str]:
    return rng.sample(WORDS, rng.randint(low, high))


def _numbers(rng: random.Random, low: int = 3, high: int = 5) -> list[int]:
    return rng.sample(range(1, 30), rng.randint(low, high))


def _pairs(rng: random.Random) -> dict[str, int]:
    return {word: rng.randrange(1, 20) for word in _words(rng, 2, 3)}


def _index(rng: random.Random, items: list) -> int:
    return rng.choice([0, 0, 1, -1, len(items) - 1])


def _get(rng: random.Random) -> str:
    pairs = _pairs(rng)
    key = rng.choice([*pairs, _word(rng)])
    return f"{pairs}.get({key!r}, 0)"


def _lookup(rng: random.Random) -> str:
    pairs = _pairs(rng)
    return f"{pairs}[{rng.choice(list(pairs))!r}]"


def _member(rng: random.Random) -> str:
    items = _words(rng, 2, 4)
    return f"{rng.choice([rng.choice(items), _word(rng)])!r} in {items}"


def _prefix(rng: random.Random) -> str:
    word = _word(rng)
    start = rng.choice([word[:2], _word(rng)[:2]])
    return f"{word!r}.startswith({start!r})"


def _suffix(rng: random.Random) -> str:
    word = _word(rng)
    end = rng.choice([word[-2:], _word(rng)[-2:]])
    return f"{word!r}.endswith({end!r})"


def _item(rng: random.Random) -> str:
    items = rng.choice([_words, _numbers])(rng, 3, 4)
    return f"{items}[{_index(rng, items)}]"


def _slice(rng: random.Random) -> str:
    items = rng.choice([_words, _numbers])(rng, 3, 5)
    return f"{items}[{rng.choice([':2', '1:', ':1', '1:3', '-1:', ':-1'])}]"


def _letter(rng: random.Random) -> str:
    return f"{_word(rng)!r}[{rng.choice([0, 0, 1, -1])}]"


def _small(rng: random.Random, operator: str) -> str:
    return f"{rng.randint(2, 30)} {operator} {rng.randint(2, 9)}"


def _compare(rng: random.Random) -> str:
    return f"{rng.randint(1, 50)} {rng.choice(['<', '>', '<=', '>=', '=='])} {rng.randint(1, 50)}"


def _type(rng: random.Random) -> str:
    values = [_word(rng), _numbers(rng), _pairs(rng), rng.randint(1, 99), rng.randint(1, 9) / 2]
    return f"type({rng.choice([*values, (1, rng.randint(2, 50)), True])!r}).__name__"


def _instance(rng: random.Random) -> str:
    value = rng.choice([_word(rng), rng.randint(1, 99), _numbers(rng, 2, 3)])
    return f"isinstance({value!r}, {rng.choice(['str', 'int', 'list'])})"


def _truth(rng: random.Random) -> str:
    empty = ["''", "[]", "{}", "0", "None", "()", "0.0"]
    return f"bool({rng.choice([*empty, repr(_word(rng)), repr(_numbers(rng, 1, 3))])})"


def _remove(rng: random.Random) -> str:
    word = _word(rng)
    return f"{word!r}.removeprefix({word[:2]!r})"


def _count(rng: random.Random) -> str:
    item = rng.sample(range(1, 9), 3)
    items = [rng.choice(item) for _ in range(rng.randint(3, 5))]
    return f"{items}.count({rng.choice(item)})"


Form = tuple[Callable[[random.Random], str], str]
FORMS: list[Form] = [
    (lambda r: f"{_word(r)!r}.upper()", "`upper` met tout en majuscules."),
    (lambda r: f"{_word(r).upper()!r}.lower()", "`lower` met tout en minuscules."),
    (lambda r: f"{_word(r)!r}.capitalize()", "`capitalize` met la première lettre en majuscule."),
    (lambda r: f"{' '.join(_words(r, 2, 3))!r}.title()", "`title` met une majuscule à chaque mot."),
    (lambda r: f"{'  ' + _word(r) + '  '!r}.strip()", "`strip` ôte les espaces des deux bouts."),
    (lambda r: f"{'-'.join(_words(r))!r}.split('-')", "`split` coupe à chaque séparateur."),
    (lambda r: f"{' '.join(_words(r))!r}.split()", "`split` coupe aux espaces."),
    (lambda r: f"{r.choice([', ', '-', ' ', '/'])!r}.join({_words(r)})", "`join` met bout à bout."),
    (_prefix, "`startswith` compare le début."),
    (_suffix, "`endswith` compare la fin."),
    (_remove, "`removeprefix` ôte le début."),
    (lambda r: f"{_word(r)!r} + {_word(r)!r}", "`+` met deux textes bout à bout."),
    (lambda r: f"{_word(r)!r} * 2", "`*` répète le texte."),
    (_letter, "un indice prend une lettre."),
    (lambda r: f"list({_word(r)[:4]!r})", "`list` sépare les lettres."),
    (lambda r: f"len({_words(r, 1, 5)})", "`len` compte les éléments."),
    (lambda r: f"len({_numbers(r, 1, 5)})", "`len` compte les éléments."),
    (_item, "le premier indice est 0, le dernier -1."),
    (_slice, "une tranche exclut sa borne de fin."),
    (lambda r: f"{_numbers(r, 2, 3)} + {_numbers(r, 1, 2)}", "`+` met deux listes bout à bout."),
    (lambda r: f"[{r.randint(0, 9)}] * {r.randint(2, 4)}", "`*` répète la liste."),
    (lambda r: f"max({_numbers(r, 3, 4)})", "`max` prend le plus grand."),
    (lambda r: f"min({_numbers(r, 3, 4)})", "`min` prend le plus petit."),
    (lambda r: f"sorted({_numbers(r, 3, 4)})", "`sorted` range du plus petit au plus grand."),
    (lambda r: f"list(reversed({_numbers(r, 3, 4)}))", "`reversed` parcourt à l’envers."),
    (lambda r: f"tuple({_numbers(r, 2, 4)})", "`tuple` en fait un n-uplet."),
    (lambda r: f"sum({r.sample(range(1, 8), r.randint(2, 3))})", "`sum` additionne."),
    (lambda r: f"list(range({r.randint(2, 7)}))", "`range` commence à 0 et exclut sa borne."),
    (_count, "`count` compte les apparitions."),
    (_lookup, "les crochets lisent la valeur d’une clé."),
    (_get, "`get` renvoie son second argument si la clé manque."),
    (lambda r: f"list({_pairs(r)})", "parcourir un dictionnaire donne ses clés."),
    (lambda r: f"len({_pairs(r)})", "`len` compte les clés."),
    (lambda r: f"list({_pairs(r)}.values())", "`values` donne les valeurs."),
    (_member, "`in` cherche un élément."),
    (lambda r: _small(r, "+"), "`+` additionne."),
    (lambda r: f"{r.randint(2, 9)} * {r.randint(2, 9)}", "`*` multiplie."),
    (lambda r: _small(r, "//"), "`//` donne le quotient entier."),
    (lambda r: _small(r, "%"), "`%` donne le reste."),
    (_compare, "une comparaison donne un booléen."),
    (lambda r: f"str({r.randint(1, 9999)})", "`str` donne le texte."),
    (lambda r: f"int('{r.randint(1, 9999)}')", "`int` lit un entier."),
    (lambda r: f"float({r.randint(1, 999)})", "`float` donne un nombre à virgule."),
    (_type, "`type` donne la classe."),
    (_instance, "`isinstance` compare la classe."),
    (_truth, "ce qui est vide ou nul est faux."),
]


def composed(rng: random.Random) -> Draft | None:
    """Une question sur une expression composée."""
    code, said = expression(rng)
    code = normalized(code)
    value = evaluate(code, {})
    return None if value is None else _draft(code, value, said)


def from_library(entry: Entry) -> list[Draft]:
    """Les doctests d’une docstring qui tiennent en une expression, avec un import au plus.

    Un exemple est gardé si l’évaluer seul, après cet import, redonne ce que la docstring annonce.
    """
    drafts = []
    with contextlib.suppress(ValueError):  # une docstring qui n’est pas un doctest bien formé
        for example in doctest.DocTestParser().get_examples(entry.doc):
            source, want = example.source.strip(), example.want.strip()
            if "\n" in source + want or len(source) > 60 or not 0 < len(want) <= 60:
                continue
            with contextlib.suppress(SyntaxError):
                code = normalized(source)
                drafts += _library_draft(entry, code, want)
    return drafts


def _library_draft(entry: Entry, code: str, want: str) -> list[Draft]:
    needed = "" if evaluate(code, {}) == want else f"from {entry.module} import {_top(entry)}"
    if needed and entry.module == "builtins":
        return []
    scope: dict = {}
    if needed:
        exec(needed, scope)  # noqa: S102
    if evaluate(code, scope) != want:
        return []
    return [_draft(code, want, "", needed, entry.held)]


def _top(entry: Entry) -> str:
    return entry.local.partition(".")[0]


def _draft(code: str, value: str, said: str, needed: str = "", held: bool = False) -> Draft | None:
    if "`" in code + value or not value.isascii():
        return None
    reply = f"`{value}` : {said}" if said else f"`{value}`"
    kind = "doctest_import" if needed else "doctest"
    extra = {"expression": code} | ({"import": needed} if needed else {})
    return Draft("doctest", code, kind, {"e": code, "i": needed}, value, reply, held, extra)


def normalized(code: str) -> str:
    """L’expression telle que Python l’écrit : même arbre, même texte. SyntaxError sinon."""
    return ast.unparse(ast.parse(code, mode="eval"))


def evaluate(code: str, scope: dict) -> str | None:
    """`repr` de la valeur ; None si l’évaluation échoue, ou si elle n’a rien à montrer."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            value = eval(code, dict(scope))  # noqa: S307
    except Exception:  # n’importe quel doctest sorti de son contexte
        return None
    return None if value is None else repr(value)
