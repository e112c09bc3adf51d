"""Les familles qui portent sur des noms et des docstrings : import, module, docline, extract…"""

import builtins
import random
import re
from collections import Counter

from llmbook.instructions import split_of
from tools.instructions.inspection import Entry
from tools.instructions.phrasings import ANSWERS
from tools.instructions.signatures import Draft

SENTENCE = re.compile(r"\S.*?[.!?](?=\s|$)", re.DOTALL)
EXCEPTION = re.compile(r"\b(?:[A-Z]\w*(?:Error|Exception)|StopIteration|KeyboardInterrupt)\b")
RETURNS = re.compile(r"\breturn(?:s|ed)?\b", re.IGNORECASE)
RAISES = re.compile(r"\b[Rr]ais(?:e|es|ed|ing)\b")
TYPES = "list tuple dictionary dict string iterator generator bytes set integer int float".split()
TYPED = re.compile(
    rf"\b[Rr]eturns? (?:an? |the )?(?:new )?({'|'.join(TYPES)})"
    r"(?= (?:of|with|containing|that|which|over|representing|for|from|where)\b|[.,])"
)
VALUES = r"(True|False|None|-1|0)"
OTHERWISE = (
    re.compile(rf"\b(?:otherwise|else)(?:, ?| )(?:it )?(?:returns? )?{VALUES}\b", re.IGNORECASE),
    re.compile(rf"(?:\b(?:and|or|else)|[,;.]) (?:returns? )?{VALUES},? otherwise\b", re.IGNORECASE),
)
CONDITION = re.compile(r"^Returns? (True|False|None)(?: if\b|,? when\b)")
DEFAULTS = re.compile(r"\b(?:defaults to|default is|default:|default value is) ([\w'\"-]+)")
FACTS = {
    "extract_raises": None,
    "extract_otherwise": OTHERWISE,
    "extract_condition": (CONDITION,),
    "extract_default": (DEFAULTS,),
    "extract_type": (TYPED,),
}


def import_(entry: Entry, rng: random.Random) -> Draft | None:
    """Importer un nom, le renommer, ou importer son module ; l’import est exécuté."""
    if entry.kind == "méthode" or entry.module == "builtins":
        return None
    n, m, a, key = entry.short, entry.module, "", entry.name
    draw = rng.random()
    if draw < 0.6:
        kind, code = "import_name", f"from {m} import {n}"
    elif draw < 0.8:
        a = rng.choice([f"mon_{n}", f"{n}_std", f"_{n}", f"{n}_bis"])
        kind, code = "import_alias", f"from {m} import {n} as {a}"
    else:
        kind, code, key = "import_module", f"import {m}", m
        if entry.held:  # la clé est le module, que d’autres fichiers composent peut-être
            return None
    exec(code, {})  # noqa: S102
    values = {"n": n, "m": m, "a": a, "f": entry.name}
    return Draft("import", key, kind, values, code, f"`{code}`", entry.held)


class Modules:
    """Le module d’un nom que la bibliothèque standard ne définit qu’une fois."""

    def __init__(self, entries: list[Entry]):
        self.times = Counter(entry.short for entry in entries if entry.kind != "méthode")

    def __call__(self, entry: Entry, rng: random.Random) -> Draft | None:
        n, m = entry.short, entry.module
        if entry.kind == "méthode" or m == "builtins" or len(n) < 3 or self.times[n] > 1:
            return None
        reply = ANSWERS["module"].format(r=m, n=n)
        return Draft("module", entry.name, "module", {"n": n}, m, reply, entry.held)


class Docstrings:
    """Reconnaître une docstring parmi trois noms (docline), ou en tirer le nom (summary)."""

    def __init__(self, entries: list[Entry]):
        self.sentences = {entry.name: first_sentence(entry.doc) for entry in entries}
        self.times = Counter(self.sentences.values())
        usable = [entry for entry in entries if self._usable(entry)]
        self.sides: dict[str, list[Entry]] = {"train": [], "validation": [], "test": []}
        for entry in usable:
            self.sides[split_of(entry.name)].append(entry)

    def _usable(self, entry: Entry) -> bool:
        text = self.sentences[entry.name]
        return bool(text) and self.times[text] == 1 and 4 <= len(text.split()) <= 25

    def docline(self, entry: Entry, rng: random.Random) -> Draft | None:
        """Trois candidats de noms courts différents, tous de la même part."""
        text = self.sentences[entry.name]
        if not self._usable(entry) or entry.short.lower() in text.lower():
            return None
        pool = [other for other in self.sides[split_of(entry.name)] if other.kind == entry.kind]
        names = {entry.short: entry.local}
        while len(names) < 3:
            candidate = rng.choice(pool)
            names.setdefault(candidate.short, candidate.local)
        listed = sorted(names.values(), key=lambda _: rng.random())
        c = f"`{listed[0]}`, `{listed[1]}` ou `{listed[2]}`"
        reply = ANSWERS["docline"].format(r=entry.local)
        values, extra = {"d": text, "c": c, "t": entry.kind}, {"candidats": listed}
        return Draft(
            "docline", entry.name, "docline", values, entry.local, reply, entry.held, extra
        )

    def summary(self, entry: Entry, rng: random.Random) -> Draft | None:
        """Le nom, quand chacun de ses mots se lit dans la docstring."""
        text, name = self.sentences[entry.name], entry.short
        said = text.lower()
        parts = [part.lower() for part in name.split("_") if part]
        if not self._usable(entry) or entry.module == "builtins" or len(name) < 4:
            return None
        if not all(part in said for part in parts):
            return None
        reply = ANSWERS["summary"].format(r=name)
        values = {"d": text, "m": entry.owner or entry.module}
        return Draft("summary", entry.name, "summary", values, name, reply, entry.held)


def extract(entry: Entry, rng: random.Random) -> Draft | None:
    """Un fait écrit tel quel, une seule fois, dans la docstring (60 mots au plus)."""
    text = " ".join(entry.doc.split("\n\n>>>")[0].split())
    if not 6 <= len(text.split()) <= 60 or not quotable(text):
        return None
    facts = {kind: fact for kind in FACTS if (fact := _fact(kind, text))}
    if len(facts) > 1 or rng.random() < 0.5:
        facts.pop("extract_condition", None)  # la réponse y est presque toujours True
    if not facts:
        return None
    kind = rng.choice(sorted(facts))
    fact = facts[kind]
    reply = ANSWERS[kind].format(r=fact)
    values = {"f": entry.name, "d": sentence_end(text)}
    return Draft("extract", entry.name, kind, values, fact, reply, entry.held)


def _fact(kind: str, text: str) -> str | None:
    """La seule réponse possible de ce genre, ou None s’il y en a zéro ou plusieurs."""
    if kind == "extract_raises":
        found = set(EXCEPTION.findall(text))
        if not RAISES.search(text) or not all(_is_exception(name) for name in found):
            return None
    else:
        if kind in ("extract_type", "extract_condition") and len(RETURNS.findall(text)) > 1:
            return None
        if kind == "extract_otherwise":  # la phrase qui dit « sinon » doit dire ce qui est renvoyé
            text = " ".join(part for part in SENTENCE.findall(text) if RETURNS.search(part))
        found = {match for pattern in FACTS[kind] for match in pattern.findall(text)}
    if kind == "extract_default":
        if not all(re.fullmatch(r"True|False|None|-?\d+|'[^']*'|\"[^\"]*\"", m) for m in found):
            return None
    return found.pop() if len(found) == 1 and found != {"false"} else None


def _is_exception(name: str) -> bool:
    value = getattr(builtins, name, None)
    return isinstance(value, type) and issubclass(value, BaseException)


def first_sentence(doc: str) -> str:
    """La première phrase d’une docstring qui se lit comme une phrase anglaise, ou ""."""
    paragraph = " ".join(re.split(r"\n\s*\n|\n\s*>>>", doc)[0].split())
    match = SENTENCE.match(paragraph)
    text = match[0] if match else ""
    if not text[:1].isupper() or not quotable(text) or re.search(r"->|>>>|\w\(", text):
        return ""
    return text


def quotable(text: str) -> bool:
    """Se cite entre « » sans gêner les accents graves ni la ligne."""
    return text.isascii() and not re.search(r"[`<>|\\]|\*\*|__", text)


def sentence_end(text: str) -> str:
    return text if text[-1] in ".!?" else text + "."


NAMES = {"import": import_, "extract": extract}
