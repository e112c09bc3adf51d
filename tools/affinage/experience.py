"""Un affinage de nano, de bout en bout : des données, une méthode, une graine, et ce qu’il vaut."""

import random
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 384
HELD_OUT = ("asyncio/staggered.py", "asyncio/threads.py", "token.py", "mailcap.py")  # l’oubli
QUESTIONS = 400  # de test, pour l’exactitude


@dataclass(frozen=True)
class Experience:
    """Une expérience ; les champs par défaut sont ceux dont chaque balayage ne change qu’un.

    method : "full" ou "lora". examples : exemples appris, tirés du jeu « composes ». noise : part
    des réponses remplacées par celle d’une autre question de la même famille. replay : part
    d’extraits de préentraînement ajoutés aux exemples. alpha : None vaut deux fois le rang.
    """

    sweep: str = "essai"
    method: str = "lora"
    rank: int = 8
    alpha: float | None = None
    targets: tuple[str, ...] = ("qkv", "out", "gate_up", "down")
    rslora: bool = False
    dora: bool = False
    learning_rate: float = 3e-3
    examples: int = 2000
    noise: float = 0.0
    replay: float = 0.0
    steps: int = 300
    batch_size: int = 32
    seed: int = 0
    base: str = "models/nano"
    extra: dict = field(default_factory=dict)


def run(experience: Experience, device=None) -> dict:
    """Affine, mesure, et rend la ligne de résultat : les réglages et ce qu’ils ont donné."""
    import torch

    from llmbook import instructions, lora, runtime
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import FinetuneConfig, finetune, validation_loss
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer

    e, device = experience, device or runtime.device()
    tokenizer = Tokenizer.from_pretrained(ROOT / e.base)
    model = LanguageModel.from_pretrained(ROOT / e.base, device=device)
    torch.manual_seed(e.seed)
    trained = sum(p.numel() for p in model.parameters())
    if e.method == "lora":
        config = lora.LoraConfig(
            rank=e.rank,
            alpha=2 * e.rank if e.alpha is None else e.alpha,
            targets=e.targets,
            rslora=e.rslora,
            dora=e.dora,
        )
        lora.inject(model, config, generator=torch.Generator().manual_seed(e.seed))
        trained, _ = lora.count_parameters(model)
    chosen = training_records(e)
    examples = encode_examples(tokenizer, chosen, CONTEXT, too_long="skip")
    examples += replayed(tokenizer, round(e.replay * len(examples)), e.seed)
    validation = encode_examples(
        tokenizer, instructions.load("composes", "validation"), CONTEXT, too_long="skip"
    )[:256]
    batches = SupervisedBatches(examples, e.batch_size, CONTEXT, seed=e.seed)
    settings = FinetuneConfig(
        steps=e.steps,
        learning_rate=e.learning_rate,
        log_every=e.steps,
        precision="bfloat16" if device.type == "cuda" else "float32",
    )
    *_, last = finetune(model, batches, settings)
    model.eval()
    row = asdict(e) | {"trained": trained, "train_loss": last.loss}
    row["validation_loss"] = validation_loss(
        model, SupervisedBatches(validation, 64, CONTEXT, seed=0)
    )
    return row | measures(model, tokenizer)


def training_records(e: Experience) -> list[dict]:
    """Les exemples de cette graine ; le bruit change leur réponse, jamais leur question."""
    from llmbook import instructions

    rng = random.Random(f"{e.seed}-donnees")
    records = instructions.load("composes", "train")
    rng.shuffle(records)
    records = records[: e.examples]
    wrong = random.Random(f"{e.seed}-bruit").sample(
        range(len(records)), round(e.noise * len(records))
    )
    answers = {}
    for record in records:
        answers.setdefault(record["famille"], []).append(record["messages"][-1]["content"])
    for i in wrong:
        *before, last = records[i]["messages"]
        others = [a for a in answers[records[i]["famille"]] if a != last["content"]]
        if others:
            swapped = last | {"content": rng.choice(others)}
            records[i] = records[i] | {"messages": [*before, swapped]}
    return records


def replayed(tokenizer, count: int, seed: int) -> list:
    """Des extraits du corpus de préentraînement, appris en entier."""
    import numpy as np

    from llmbook import corpus
    from llmbook.batches_sft import Example

    if not count:
        return []
    ids = np.array(tokenizer.encode(corpus.sample("bibliotheque")[:1_500_000]))
    starts = np.random.default_rng(seed).integers(0, len(ids) - 257, count)
    return [Example(ids[s : s + 256], np.ones(256, dtype=bool)) for s in starts]


def measures(model, tokenizer) -> dict:
    """Exactitude sur les questions de test, par famille, et bits par octet de fichiers retenus."""
    from llmbook import corpus, instructions
    from llmbook.evaluation import bits_per_byte
    from llmbook.evaluation_answers import answer_questions, exact_match

    items = sampled_questions(instructions.load("composes", "test"))
    answers = answer_questions(model, tokenizer, items, max_tokens=40, batch_size=200)
    right = [exact_match(a, item["reponse"]) for a, item in zip(answers, items, strict=True)]
    families = {}
    for item, ok in zip(items, right, strict=True):
        families.setdefault(item["famille"], []).append(ok)
    texts = [text for title, text in corpus.held_out() if title in HELD_OUT]
    return {
        "exact": sum(right) / len(right),
        "families": {name: sum(found) / len(found) for name, found in sorted(families.items())},
        "held_out_bits": bits_per_byte(model, tokenizer, texts),
    }


def exact_share(model, tokenizer, items) -> float:
    """Part des réponses gloutonnes exactes."""
    from llmbook.evaluation_answers import answer_questions, exact_match

    answers = answer_questions(model, tokenizer, items, max_tokens=40, batch_size=200)
    right = (exact_match(a, item["reponse"]) for a, item in zip(answers, items, strict=True))
    return sum(right) / len(items)


def sampled_questions(records: list[dict], count: int = QUESTIONS) -> list[dict]:
    """Un échantillon fixe de questions à réponse canonique, d’un seul tour."""
    usable = [r for r in records if r["reponse"] is not None and len(r["messages"]) == 2]
    return random.Random(0).sample(usable, min(count, len(usable)))


def varied(base: Experience, sweep: str, seeds: int, **changes) -> list[Experience]:
    """Le produit des changements et des graines : un balayage."""
    rows = [replace(base, sweep=sweep)]
    for name, values in changes.items():
        rows = [replace(row, **{name: value}) for row in rows for value in values]
    return [replace(row, seed=seed) for row in rows for seed in range(seeds)]
