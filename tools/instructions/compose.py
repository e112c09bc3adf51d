"""Composer `composes.jsonl.xz` : des questions vraies sur la bibliothèque standard, en français.

Tout est tiré d’une graine ; à version de Python égale, les octets produits sont les mêmes. Chaque
enregistrement porte cette version : `inspect` et les doctests disent ce qu’elle sait.
"""

import platform
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from llmbook.instructions import contamination, first_code, split_of
from llmbook.tokenizer import Tokenizer
from tools.instructions import expressions
from tools.instructions.files import write_records
from tools.instructions.inspection import ROOT, Entry, entries
from tools.instructions.names import NAMES, Docstrings, Modules
from tools.instructions.phrasings import FOLLOW_UPS, QUESTIONS
from tools.instructions.signatures import SIGNATURES, Draft, call
from tools.messages import say

QUOTAS = {
    "default": 760,
    "required": 540,
    "parameter": 700,
    "keyword_only": 360,
    "count": 400,
    "call": 560,
    "import": 520,
    "module": 260,
    "docline": 450,
    "summary": 240,
    "extract": 300,
    "doctest": 800,
}
SEED = "instructions-1"
HELD_SHARE = 0.18  # part visée de questions retenues, par famille
MODULE_SHARE = 0.05  # aucun module ne fournit plus que cette part d’une famille
TWO_TURNS = 0.12  # part des questions de signature suivies d’une seconde
MAX_TOKENS = 200  # du tokeniseur de models/nano, gabarit compris
TEMPLATE_TOKENS = 8  # ce que le gabarit ajoute à un message, à peu près

Maker = Callable[[Entry, random.Random], Draft | None]


def main() -> None:
    records = compose()
    path = write_records(records, "composes")
    families = Counter(record["famille"] for record in records)
    held = sum(record["retenu"] for record in records)
    say(
        f"{path.name} : {len(records)} dialogues, {held} retenus ; {dict(sorted(families.items()))}"
    )


def compose() -> list[dict]:
    """Tous les enregistrements, rangés par famille puis par clé."""
    found = entries()
    named = {entry.name: entry for entry in found}
    docs = Docstrings(found)
    makers: dict[str, Maker] = SIGNATURES | NAMES | {"call": call, "module": Modules(found)}
    makers |= {"docline": docs.docline, "summary": docs.summary}
    tokenizer = Tokenizer.from_pretrained(ROOT / "models" / "nano")
    records, asked = [], set()
    for family, quota in QUOTAS.items():
        rng = random.Random(f"{SEED}-{family}")
        if family == "doctest":
            drafts = doctests(found, quota, rng)
        else:
            drafts = spread(found, makers[family], quota, rng)
        kept = 0
        for draft in drafts:
            record = phrase(draft, named.get(draft.key), rng)
            question = record["messages"][0]["content"].lower()
            if question not in asked and length(record, tokenizer) <= MAX_TOKENS:
                asked.add(question)
                records.append(record)
                kept += 1
            if kept == quota:
                break
    return numbered(decontaminated(records))


# Choisir


def spread(found: list[Entry], make: Maker, quota: int, rng: random.Random) -> Iterator[Draft]:
    """Les ébauches d’une famille : d’abord la part retenue, puis le reste, modules mêlés."""
    shuffled = rng.sample(found, len(found))
    held = [entry for entry in shuffled if entry.held]
    others = [entry for entry in shuffled if not entry.held]
    yield from capped(held, make, round(HELD_SHARE * quota), quota, rng)
    yield from capped(others, make, 2 * quota, quota, rng)


def capped(
    pool: list[Entry], make: Maker, most: int, quota: int, rng: random.Random
) -> Iterator[Draft]:
    """Au plus `most` ébauches, et au plus MODULE_SHARE de la famille par module."""
    used: Counter[str] = Counter()
    for entry in pool:
        if used.total() == most:
            return
        if used[entry.module] < MODULE_SHARE * quota and (draft := make(entry, rng)):
            used[entry.module] += 1
            yield draft


def doctests(found: list[Entry], quota: int, rng: random.Random) -> Iterator[Draft]:
    """Les doctests de la bibliothèque, puis des expressions composées, chaque clé une fois."""
    keys: set[str] = set()
    used: Counter[str] = Counter()
    for entry in rng.sample(found, len(found)):
        for draft in expressions.from_library(entry):
            if draft and draft.key not in keys and used[entry.module] < MODULE_SHARE * quota:
                used[entry.module] += 1
                keys.add(draft.key)
                yield draft
    while True:
        draft = expressions.composed(rng)
        if draft and draft.key not in keys:
            keys.add(draft.key)
            yield draft


# Écrire


def phrase(draft: Draft, entry: Entry | None, rng: random.Random) -> dict:
    """L’enregistrement d’une ébauche, avec parfois une seconde question sur la même signature."""
    number = rng.randrange(len(QUESTIONS[draft.kind]))
    messages = turn(QUESTIONS[draft.kind][number], draft)
    if draft.family in SIGNATURES and entry and rng.random() < TWO_TURNS:
        family = rng.choice([name for name in SIGNATURES if name != draft.family])
        second = SIGNATURES[family](entry, rng)
        if second and second.answer != draft.answer:
            draft = second
            messages += turn(rng.choice(FOLLOW_UPS[draft.kind]), draft)
    assert first_code(draft.reply) == draft.answer, draft
    return {
        "famille": draft.family,
        "cle": draft.key,
        "origine": "compose",
        "messages": messages,
        "reponse": draft.answer,
        "retenu": draft.held,
        "formulation": f"{draft.kind}-{number}",
        "python": platform.python_version(),
        **draft.extra,
    }


def turn(template: str, draft: Draft) -> list[dict]:
    question = template.format(**draft.values)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": draft.reply}]


def length(record: dict, tokenizer: Tokenizer) -> int:
    """Tokens d’un dialogue, gabarit compris."""
    texts = [each["content"] for each in record["messages"]]
    return sum(len(tokenizer.encode(text)) + TEMPLATE_TOKENS for text in texts)


def decontaminated(records: list[dict]) -> list[dict]:
    """Ôte de "validation" et de "test" ce que `contamination` y voit, jusqu’à ce qu’il n’y ait rien."""
    sides: dict[str, list[dict]] = {"train": [], "validation": [], "test": []}
    for i, record in enumerate(records):
        sides[split_of(record["cle"])].append({"id": i} | record)
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    dropped = -1
    while dropped:
        dropped = 0
        for first, second in pairs:
            bad = {overlap.test for overlap in contamination(sides[first], sides[second])}
            sides[second] = [record for record in sides[second] if record["id"] not in bad]
            dropped += len(bad)
    kept = {record["id"] for side in sides.values() for record in side}
    return [record for i, record in enumerate(records) if i in kept]


def numbered(records: Iterable[dict]) -> list[dict]:
    """Donne les identifiants `famille-000001`, par famille et par clé."""
    ordered = sorted(records, key=lambda r: (r["famille"], r["cle"], r["messages"][0]["content"]))
    numbers: Counter[str] = Counter()
    result = []
    for record in ordered:
        numbers[record["famille"]] += 1
        result.append({"id": f"{record['famille']}-{numbers[record['famille']]:06d}"} | record)
    return result
