"""models/nano-instruct : l’adaptateur, le modèle fusionné, ce qu’il vaut et sa carte.

    python -m tools.affinage instruct entrainer              quelques minutes sur une carte
    python -m tools.affinage instruct entrainer --epoques 1  un essai, sur deux cœurs
    python -m tools.affinage instruct marques                six minutes, sur deux cœurs
    python -m tools.affinage instruct mesurer                questions et tâches de test, carte

`entrainer` essaie plusieurs réglages, chacun dans son processus, et garde celui qui répond juste le
plus souvent aux questions de validation. `marques` apprend ensuite les lignes de plongement de
<|im_start|> et <|im_end|>, que LoRA laisse gelées (llmbook.lora_tokens) : sans elles, la marque de
fin est la plus probable à sa place, mais n’a que quelques centièmes de probabilité.
"""

import argparse
import json
import multiprocessing
import time
from dataclasses import asdict, replace
from pathlib import Path

from tools.affinage.recette import CANDIDATES, CONTEXT, ROOT, Recipe, described, records
from tools.messages import Panne, Progress, say

BASE, FOLDER = ROOT / "models" / "nano", ROOT / "models" / "nano-instruct"
ADAPTER = "adaptateur"
MARKS, MARK_STEPS, MARK_BATCH = (2, 3), 160, 16
MARK_RATES = {"adaptateur": 1e-4, "lignes": 1e-3}


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.affinage instruct", description=__doc__)
    parser.add_argument("etape", choices=("entrainer", "marques", "mesurer"))
    parser.add_argument("--epoques", type=float, help="autre durée que celle des recettes")
    parser.add_argument("--processus", type=int, default=len(CANDIDATES))
    parser.add_argument("--sortie", type=Path, default=FOLDER)
    parser.add_argument("--carte", action="store_true", help="récrire la carte sans remesurer")
    chosen = parser.parse_args(options)
    if chosen.etape == "entrainer":
        candidates = CANDIDATES
        if chosen.epoques:
            candidates = [replace(CANDIDATES[0], epochs=chosen.epoques)]
        choose(candidates, min(chosen.processus, len(candidates)), chosen.sortie)
    elif chosen.etape == "marques":
        learn_marks(chosen.sortie)
    else:
        from tools.affinage import carte

        carte.main(chosen.sortie, again=not chosen.carte)
    return 0


def choose(candidates: list[Recipe], processes: int, folder: Path) -> None:
    """Entraîne chaque candidat, garde le meilleur adaptateur, écrit le dossier du modèle."""
    context = multiprocessing.get_context("spawn")
    attempts = []
    with context.Pool(processes) as pool:
        jobs = [(recipe, folder / "essais" / str(i)) for i, recipe in enumerate(candidates)]
        for attempt in pool.imap_unordered(train, jobs):
            attempts.append(attempt)
            say(
                f"{attempt['method']} taux {attempt['learning_rate']:g}, {attempt['epochs']:g} "
                f"époques : validation {attempt['exact']:.3f}, perte {attempt['perte']:.3f}, "
                f"{attempt['secondes']:.0f} s"
            )
    usable = [a for a in attempts if a["method"] == "lora"]
    best = max(usable, key=lambda attempt: attempt["exact"])
    write(best, attempts, folder)
    say(f"{folder} : écrit, d’après l’essai de taux {best['learning_rate']:g}.")


def train(job) -> dict:
    import torch

    from llmbook import lora, runtime
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import FinetuneConfig, finetune, validation_loss
    from llmbook.lora_files import save_adapter
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer
    from tools.affinage.experience import exact_share, sampled_questions
    from tools.models import training

    recipe, place = job
    torch.set_num_threads(1)
    device, start = runtime.device(), time.perf_counter()
    tokenizer = Tokenizer.from_pretrained(BASE)
    model = LanguageModel.from_pretrained(BASE, device=device)
    torch.manual_seed(recipe.seed)
    if recipe.method == "lora":
        settings = lora.LoraConfig(
            rank=recipe.rank, alpha=recipe.alpha, targets=recipe.targets, dropout=recipe.dropout
        )
        lora.inject(model, settings, generator=torch.Generator().manual_seed(recipe.seed))
    examples = encode_examples(tokenizer, records("train"), CONTEXT, too_long="skip")
    validation = encode_examples(tokenizer, records("validation"), CONTEXT, too_long="skip")
    batches = SupervisedBatches(examples, recipe.batch_size, CONTEXT, seed=recipe.seed)
    config = FinetuneConfig(
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        precision="bfloat16" if device.type == "cuda" else "float32",
        log_every=20,
    )
    journal = [
        {"step": s.step, "epoch": round(s.epoch, 3), "loss": float(f"{s.loss:.4g}")}
        | {"learning_rate": float(f"{s.learning_rate:.4g}")}
        for s in finetune(model, batches, config)
    ]
    model.eval()
    held = SupervisedBatches(validation, 64, CONTEXT, seed=0)
    questions = sampled_questions([r for r in records("validation") if r["origine"] == "compose"])
    found = asdict(recipe) | {
        "perte": validation_loss(model, held),
        "exact": exact_share(model, tokenizer, questions),
        "exemples": len(examples),
        "pas": journal[-1]["step"],
        "secondes": round(time.perf_counter() - start, 1),
        "materiel": training.described(device),
        "torch": torch.__version__,
    }
    if recipe.method == "lora":
        place.mkdir(parents=True, exist_ok=True)
        save_adapter(model, place / ADAPTER, base_name="models/nano", dtype=torch.bfloat16)
        lines = "".join(json.dumps(row) + "\n" for row in journal)
        (place / "journal.jsonl").write_text(lines, encoding="utf-8")
        found["dossier"] = str(place)
    return found


def write(best: dict, attempts: list[dict], folder: Path) -> None:
    """Le dossier livré : adaptateur, poids fusionnés, tokeniseur à gabarit, journal, réglages."""
    import shutil

    from llmbook.chat_template import CHATML
    from llmbook.lora_files import load_adapter
    from llmbook.model import LanguageModel

    place = Path(best["dossier"])
    model = LanguageModel.from_pretrained(BASE)
    load_adapter(model, place / ADAPTER)
    save_merged(model, folder)
    generation = {"bos_token_id": 0, "eos_token_id": [3, 0], "pad_token_id": 1}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    shutil.copytree(place / ADAPTER, folder / ADAPTER)
    shutil.copy(place / "journal.jsonl", folder / "journal.jsonl")
    shutil.copy(BASE / "tokenizer.json", folder / "tokenizer.json")
    settings = json.loads((BASE / "tokenizer_config.json").read_text("utf-8"))
    settings["chat_template"] = CHATML
    text = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    hidden = {"dossier", "materiel", "torch"}
    known = Recipe(**{k: best[k] for k in asdict(Recipe())})
    run = {
        "base": "models/nano",
        "recette": described(known),
        "exemples": best["exemples"],
        "pas": best["pas"],
        "materiel": best["materiel"],
        "torch": best["torch"],
        "essais": [{k: v for k, v in a.items() if k not in hidden} for a in attempts],
    }
    text = json.dumps(run, indent=1, ensure_ascii=False) + "\n"
    (folder / "entrainement.json").write_text(text, encoding="utf-8")
    shutil.rmtree(folder / "essais")


def save_merged(model, folder: Path) -> None:
    import torch

    from llmbook import lora

    lora.merge_and_unload(model)
    ends = dict(eos_token_id=0, bos_token_id=0, pad_token_id=1)
    model.save_pretrained(folder, dtype=torch.bfloat16, **ends)


def learn_marks(folder: Path) -> None:
    """Apprend les lignes des marques de dialogue, l’adaptateur continuant dix fois plus lentement."""
    import torch

    from llmbook import lora
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import FinetuneConfig, finetune
    from llmbook.lora_files import load_adapter, save_adapter
    from llmbook.lora_tokens import train_tokens
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer
    from tools.models import training

    check_trained(folder)
    tokenizer = Tokenizer.from_pretrained(BASE)
    model = LanguageModel.from_pretrained(BASE)
    load_adapter(model, folder / ADAPTER)
    before = end_loss(model, tokenizer)
    adapters = lora.trainable_parameters(model)
    rows = train_tokens(model, MARKS).rows
    examples = encode_examples(tokenizer, records("train"), CONTEXT, too_long="skip")
    batches = SupervisedBatches(examples, MARK_BATCH, CONTEXT, seed=1)
    groups = [
        {"params": adapters, "lr": MARK_RATES["adaptateur"]},
        {"params": [rows], "lr": MARK_RATES["lignes"]},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    config = FinetuneConfig(steps=MARK_STEPS, log_every=10)
    start, progress = time.perf_counter(), Progress()
    for seen in finetune(model, batches, config, optimizer=optimizer):
        progress.show(f"pas {seen.step}/{seen.steps} · perte {seen.loss:.3f}")
    progress.close()
    model.eval()
    after = end_loss(model, tokenizer)
    save_adapter(model, folder / ADAPTER, base_name="models/nano", dtype=torch.bfloat16)
    save_merged(model, folder)
    path = folder / "entrainement.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    run["marques"] = {
        "tokens": list(MARKS),
        "pas": MARK_STEPS,
        "lot": MARK_BATCH,
        "taux": MARK_RATES,
        "materiel": training.described(torch.device("cpu")),
        "secondes": round(time.perf_counter() - start, 1),
        "probabilite_de_fin": [before, after],
    }
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"probabilité de <|im_end|> à sa place : {before:.3f} avant, {after:.3f} après")


def end_loss(model, tokenizer, count: int = 150) -> float:
    """Probabilité (moyenne géométrique) de <|im_end|> à la fin des réponses de validation."""
    import math

    import torch

    from llmbook import instructions
    from llmbook.batches_sft import encode_examples

    rows = instructions.load("composes", "validation")[:count]
    nats, seen = 0.0, 0
    with torch.no_grad():
        for example in encode_examples(tokenizer, rows, CONTEXT):
            ids = torch.from_numpy(example.ids)[None].long()
            logits = model(ids)[0].log_softmax(-1)
            for t in range(1, len(example.ids)):
                if example.mask[t] and example.ids[t] == MARKS[1]:
                    nats, seen = nats - float(logits[t - 1, MARKS[1]]), seen + 1
    return round(math.exp(-nats / seen), 4)


def check_trained(folder: Path) -> None:
    if not (folder / "model.safetensors").exists():
        raise Panne(f"{folder} n’est pas entraîné.", "python -m tools.affinage instruct entrainer")
