"""L’étape « entrainer » : un modèle livré, du corpus en tokens aux poids, avec son journal.

    python -m tools modele entrainer nano                     # la recette, sur une carte
    python -m tools modele entrainer nano --essai 200         # 200 petits pas, sur deux cœurs

Le journal (models/NOM/journal.jsonl) a une ligne par `log_every` pas : il sert à la page du
chapitre 7 qui lit l’entraînement. Une commande interrompue reprend au dernier point.
"""

import argparse
import contextlib
import hashlib
import json
import math
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path

from tools.messages import Panne, Progress, duration, say, step
from tools.models.corpus import CACHE, ROOT, SUMMARY, TOKENS

FIGURES = 5  # décimales gardées dans le journal


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools modele entrainer", description=__doc__)
    parser.add_argument("nom", choices=("nano", "petit"))
    parser.add_argument("--essai", type=int, default=0, help="nombre de petits pas d’un essai")
    parser.add_argument("--pas", type=int, default=0, help="autre nombre de pas que la recette")
    parser.add_argument("--lot", type=int, default=0, help="suites par lot d’un essai (8)")
    parser.add_argument("--contexte", type=int, default=256, help="tokens par suite d’un essai")
    parser.add_argument("--tokens", type=Path, default=CACHE / TOKENS, help="le corpus en tokens")
    parser.add_argument("--sortie", type=Path, help="dossier du modèle (models/NOM)")
    chosen = parser.parse_args(options)
    from tools.models.recipes import RECIPES

    recipe = RECIPES[chosen.nom]
    if chosen.pas:
        recipe = replace(recipe, train=replace(recipe.train, steps=chosen.pas))
    if chosen.essai:
        recipe = recipe.tried(chosen.essai, chosen.lot or 8, chosen.contexte)
    default = CACHE / f"essai-{recipe.name}" if chosen.essai else ROOT / "models" / recipe.name
    run(recipe, chosen.tokens, chosen.sortie or default)
    return 0


def run(recipe, tokens_path: Path, folder: Path) -> None:
    """Entraîne la recette et écrit ses poids, son tokeniseur et son journal dans `folder`."""
    import numpy as np
    import torch

    from llmbook import corpus, runtime
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer
    from llmbook.training import train

    if not tokens_path.exists():
        raise Panne("Le corpus n’est pas en tokens.", "python -m tools modele tokeniseur")
    tokens = np.load(tokens_path, mmap_mode="r")
    summary = json.loads((CACHE / SUMMARY).read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_pretrained(ROOT / "models" / recipe.name)
    tests = {name: [text for _, text in corpus.held_out(name)] for name in corpus.HELD_OUT}
    device = runtime.device()
    torch.manual_seed(recipe.train.seed)
    model = LanguageModel(recipe.model).to(device)
    step(
        f"{recipe.name} : {model.n_parameters() / 1e6:.1f} M de paramètres, "
        f"{recipe.train.steps} pas, {len(tokens) / 1e6:.1f} M de tokens, sur {described(device)}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    points = CACHE / f"points-{recipe.name}" / digest(recipe)
    measured, journal = {}, Journal(folder / "journal.jsonl", resumed=points.exists())

    def evaluate(model) -> float:
        measured.update(
            {name: bits_per_byte(model, tokenizer, texts) for name, texts in tests.items()}
        )
        return measured["retenu"]

    progress, start = Progress(), time.perf_counter()
    with contextlib.closing(progress):  # la ligne de progression se ferme même en cas d’arrêt
        for seen in train(
            model,
            tokens,
            recipe.train,
            folder=points,
            evaluate=evaluate,
            bytes_per_token=summary["octets_par_token"],
        ):
            row = {"step": seen.step, "tokens": seen.tokens, "loss": seen.loss}
            row |= {"bits_per_byte": seen.bits_per_byte, "grad_norm": seen.grad_norm}
            row |= {"learning_rate": seen.learning_rate, "tokens_per_s": round(seen.tokens_per_s)}
            if seen.eval_loss is not None:
                row |= measured
            journal.write(row)
            progress.show(line_of(row, recipe.train.steps))
    seconds = time.perf_counter() - start
    ends = dict(eos_token_id=tokenizer.fin, bos_token_id=tokenizer.fin)
    if recipe.quantized:  # l’original reste à côté du corpus : la carte mesure ce que l’int8 coûte
        model.save_pretrained(CACHE / f"{recipe.name}-bf16", **ends)
    model.save_pretrained(folder, int8=recipe.quantized, **ends)
    described_run = {
        "recette": asdict(recipe.train),
        "modele": asdict(recipe.model),
        "parametres": model.n_parameters(),
        "tokens_vus": recipe.train.steps * tokens_per_step(recipe.train),
        "secondes": round(seconds, 1),
        "materiel": described(device),
        "torch": torch.__version__,
        "corpus": summary,
    }
    text = json.dumps(described_run, indent=1, ensure_ascii=False) + "\n"
    (folder / "entrainement.json").write_text(text, encoding="utf-8")
    if folder != ROOT / "models" / recipe.name:
        tokenizer.save(folder)
    say(f"{recipe.name} : {duration(seconds)}, écrit dans {folder}.")


def bits_per_byte(model, tokenizer, texts) -> float:
    """Bits par octet des textes mis bout à bout, lus en fenêtres disjointes : rapide, approché.

    La mesure publiée, à fenêtre glissante, est celle de `llmbook.evaluation`.
    """
    import numpy as np
    import torch
    import torch.nn.functional as F

    T = model.config.context
    flat = np.concatenate([[tokenizer.fin, *tokenizer.encode(text)] for text in texts])
    count = max(1, (len(flat) - 1) // T)
    T = min(T, len(flat) - 1)
    flat = torch.from_numpy(flat[: count * T + 1].astype(np.int64)).to(model.device)
    inputs, targets = flat[:-1].view(count, T), flat[1:].view(count, T)
    nats = 0.0
    with torch.autocast(model.device.type, torch.bfloat16):
        for x, y in zip(inputs.split(16), targets.split(16), strict=True):
            logits = model(x).float()
            nats += float(F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum"))
    size = len(
        tokenizer.decode_bytes([i for i in targets.flatten().tolist() if i != tokenizer.fin])
    )
    return nats / math.log(2) / size


class Journal:
    """Une ligne JSON par mesure ; repris, il oublie ce qui suit le point où l’on reprend."""

    def __init__(self, path: Path, resumed: bool):
        self.path, self.rows = path, []
        if resumed and path.exists():
            self.rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def write(self, row: dict) -> None:
        self.rows = [old for old in self.rows if old["step"] < row["step"]]
        rounded = {
            k: float(f"{v:.{FIGURES}g}") if isinstance(v, float) else v for k, v in row.items()
        }
        self.rows.append(rounded)
        if "retenu" in row or len(self.rows) % 50 == 0:
            self.flush()

    def flush(self) -> None:
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path)


def line_of(row: dict, steps: int) -> str:
    text = f"pas {row['step']}/{steps} · perte {row['loss']:.3f} · {row['bits_per_byte']:.3f} bit/o"
    if "retenu" in row:
        text += f" · retenu {row['retenu']:.3f}"
    return text + f" · {row['tokens_per_s'] / 1000:.0f} k tokens/s"


def tokens_per_step(train) -> int:
    return train.batch_size * train.accumulate * train.context


def digest(recipe) -> str:
    described = json.dumps([asdict(recipe.model), asdict(recipe.train)], sort_keys=True)
    return hashlib.blake2b(described.encode(), digest_size=6).hexdigest()


def described(device) -> str:
    """« NVIDIA H100 80GB HBM3 », ou le processeur et ses cœurs."""
    import os

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {os.cpu_count()} cœurs"
