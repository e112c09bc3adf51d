"""Prompt, recherche ou affinage : une même tâche, quatre voies, trois budgets d’exemples.

    python -m tools.affinage voies        écrit book/_data/voies.json ; sur deux cœurs, un quart d’heure

La tâche : donner la valeur par défaut d’un paramètre d’une fonction de la bibliothèque standard. La
signature n’est pas dans la question : le modèle la sait, ou la recherche la trouve parmi toutes
celles du jeu « composes ». Une même formulation pour toutes les questions : la voie du prompt n’a
ainsi que la tâche à deviner.
"""

import argparse
import ast
import random
from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from tools.affinage.experience import ROOT
from tools.affinage.resultats import write_rows

RESULTS = ROOT / "book" / "_data" / "voies.json"
PER_SIGNATURE = 2  # questions au plus
SHOTS = 8  # ce qui tient dans un prompt de nano avec la question
STEPS = {10: 40, 100: 120, 1000: 300}
CONTEXT = 384


@dataclass(frozen=True)
class Way:
    """finetuned : les exemples changent les poids, sinon ils vont dans le prompt ; searched : la
    signature trouvée par la recherche est jointe à la question."""

    name: str
    finetuned: bool
    searched: bool


WAYS = (
    Way("prompt", finetuned=False, searched=False),
    Way("recherche", finetuned=False, searched=True),
    Way("affinage", finetuned=True, searched=False),
    Way("affinage et recherche", finetuned=True, searched=True),
)


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.affinage voies", description=__doc__)
    parser.add_argument("--graines", type=int, default=3)
    parser.add_argument("--sortie", type=Path, default=RESULTS)
    chosen = parser.parse_args(options)
    import torch

    from llmbook import runtime
    from tools.models.training import described

    train, test = task_records("train"), task_records("validation") + task_records("test")
    rows = []
    for seed in range(chosen.graines):
        for n in STEPS:
            for way in WAYS:
                found = measure(way, sampled(train, n, seed), test, seed)
                rows.append({"voie": way.name, "exemples": n, "graine": seed} | found)
                print(rows[-1], flush=True)
    found = {
        "materiel": described(runtime.device()),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "commande": "python -m tools.affinage voies",
        "questions": len(test),
        "frequent": majority(train, test),
        "rappel": recall(test),
    }
    write_rows(chosen.sortie, found, rows)
    return 0


@lru_cache(maxsize=4)
def task_records(split: str) -> tuple[dict, ...]:
    """Les questions d’une part, d’après la clé de leur signature : champs question, reponse, …"""
    from llmbook import instructions

    keys = {
        r["signature"]: r["cle"] for r in instructions.load("composes", split) if "signature" in r
    }
    return tuple(
        {"famille": "default", "cle": key, "signature": signature, "nom": name, "reponse": value}
        for signature, key in sorted(keys.items())
        for name, value in defaults(signature)[:PER_SIGNATURE]
    )


def defaults(signature: str) -> list[tuple[str, str]]:
    """« f(a, b=None) » -> [("b", "None")] ; [] si le texte ne s’analyse pas."""
    name, _, rest = signature.partition("(")
    try:
        arguments = ast.parse(f"def f({rest}: pass").body[0].args
    except SyntaxError:
        return []
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(optional, arguments.defaults, strict=True)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    pairs += [(argument, value) for argument, value in named if value is not None]
    return [(argument.arg, ast.unparse(value)) for argument, value in pairs]


def sampled(records: tuple[dict, ...], n: int, seed: int) -> list[dict]:
    return random.Random(f"voies-{seed}").sample(records, n)


def closed(record: dict) -> str:
    """La question : le nom de la fonction, sans sa signature."""
    name = record["signature"].partition("(")[0]
    return f"Que vaut `{record['nom']}` par défaut dans `{name}` ?"


def documents() -> list[str]:
    """Ce que la recherche parcourt : les signatures des trois parts, sans doublon, triées."""
    from llmbook import instructions

    rows = instructions.load("composes")
    return sorted({row["signature"] for row in rows if "signature" in row})


@lru_cache(maxsize=1)
def searcher():
    """La signature que BM25 classe première pour une question."""
    from llmbook.text_search import BM25

    signatures = documents()
    index = BM25(signatures)
    return lambda question: signatures[int(index.scores([question])[0].argmax())]


def question_of(record: dict, way: Way, search) -> str:
    text = closed(record)
    return f"Signature : `{search(text)}`\n{text}" if way.searched else text


def as_dialogues(records, way: Way, search) -> list[dict]:
    return [
        record
        | {
            "messages": [
                {"role": "user", "content": question_of(record, way, search)},
                {"role": "assistant", "content": f"`{record['reponse']}`"},
            ]
        }
        for record in records
    ]


def measure(
    way: Way, examples: list[dict], test: list[dict], seed: int, base="models/nano"
) -> dict:
    """Exactitude sur les questions de test : {"exact", "hors_none", "tokens_appris"}."""
    import torch

    from llmbook import lora, runtime
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.evaluation_answers import answer_questions, score_answers
    from llmbook.finetuning import FinetuneConfig, finetune
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer

    device, search = runtime.device(), searcher()
    tokenizer = Tokenizer.from_pretrained(ROOT / base)
    model = LanguageModel.from_pretrained(ROOT / base, device=device).eval()
    shown, asked = as_dialogues(examples, way, search), as_dialogues(test, way, search)
    shots, learned = shown[:SHOTS], 0
    if way.finetuned:
        shots = None
        torch.manual_seed(seed)
        settings = lora.LoraConfig(rank=8, alpha=16, targets=("qkv", "out", "gate_up", "down"))
        lora.inject(model, settings, generator=torch.Generator().manual_seed(seed))
        encoded = encode_examples(tokenizer, shown, CONTEXT)
        batches = SupervisedBatches(encoded, min(16, len(encoded)), CONTEXT, seed=seed)
        config = FinetuneConfig(
            steps=STEPS[len(examples)],
            learning_rate=3e-3,
            log_every=100,
            precision="bfloat16" if device.type == "cuda" else "float32",
        )
        *_, last = finetune(model, batches, config)
        learned = last.learned
        model.eval()
    answers = answer_questions(model, tokenizer, asked, max_tokens=40, shots=shots, batch_size=128)
    scores = score_answers(asked, answers)
    none = [ok for ok, r in zip(scores.correct, test, strict=True) if r["reponse"] != "None"]
    return {
        "exact": round(scores.total.value, 4),
        "hors_none": round(sum(none) / len(none), 4),
        "tokens_appris": learned,
    }


def majority(train, test) -> float:
    """Répondre toujours la réponse la plus fréquente."""
    (common, _), *_ = Counter(record["reponse"] for record in train).most_common(1)
    return round(sum(common == record["reponse"] for record in test) / len(test), 4)


def recall(test: list[dict]) -> float:
    """Part des questions pour lesquelles la recherche trouve la bonne signature."""
    search = searcher()
    return round(sum(search(closed(r)) == r["signature"] for r in test) / len(test), 4)
