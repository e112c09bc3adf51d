"""L’étape « mesurer » : ce que vaut un modèle livré, et sa carte (README.md).

    python -m tools modele mesurer nano

Écrit models/NOM/mesures.json, puis models/NOM/README.md, tiré de mesures.json, d’entrainement.json
et du journal : la carte ne contient aucun nombre saisi à la main.
"""

import argparse
import hashlib
from pathlib import Path

from tools.messages import Panne, Progress, say, step
from tools.models.corpus import CACHE, ROOT, TOKENS, documents, write_json
from tools.models.text import render

SAMPLES, SAMPLE_TOKENS = 100, 200
METHODS = {  # options de llmbook.generation.generate ; le glouton n’a qu’un échantillon par amorce
    "température 1": {},
    "température 0,8": {"temperature": 0.8},
    "top-k 50": {"top_k": 50},
    "top-p 0,9": {"top_p": 0.9},
    "min-p 0,1": {"min_p": 0.1},
    "température 0,6, top-p 0,9": {"temperature": 0.6, "top_p": 0.9},
}
COPIED_LINES = 5  # suites de lignes du corpus que l’on cherche dans les échantillons


def main(options) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools modele mesurer", description=__doc__)
    parser.add_argument("nom", choices=("nano", "petit"))
    parser.add_argument("--carte", action="store_true", help="récrire la carte sans remesurer")
    chosen = parser.parse_args(options)
    folder = ROOT / "models" / chosen.nom
    if not chosen.carte:
        write_json(folder / "mesures.json", measured(chosen.nom, folder))
    (folder / "README.md").write_text(render(chosen.nom, folder), encoding="utf-8")
    say(f"{folder.relative_to(ROOT)} : mesures.json et README.md écrits.")
    return 0


def measured(name: str, folder: Path) -> dict:
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer

    if not (folder / "model.safetensors").exists():
        raise Panne(f"{name} n’est pas entraîné.", f"python -m tools modele entrainer {name}")
    model = LanguageModel.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_pretrained(folder)
    weights = folder / "model.safetensors"
    found = {
        "parametres": model.n_parameters(),
        "octets_des_poids": weights.stat().st_size,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    step(f"{name} : textes retenus")
    found |= held_out_measures(model, tokenizer)
    original = CACHE / f"{name}-bf16"
    if original.exists():
        step(f"{name} : ce que l’int8 coûte")
        whole = LanguageModel.from_pretrained(original).eval()
        found["bits_par_octet_avant_int8"] = held_out_bits(whole, tokenizer)
        del whole
    step(f"{name} : {len(METHODS)} × {SAMPLES} échantillons de {SAMPLE_TOKENS} tokens")
    found["echantillons"] = sample_measures(model, tokenizer)
    if name == "nano":  # les repères ne dépendent que du corpus et du tokeniseur, communs aux deux
        step("Repères : xz et Kneser–Ney")
        found["reperes"] = rivals(tokenizer)
    return found


def held_out_scores(model, tokenizer, name: str) -> list:
    from llmbook import corpus
    from llmbook.evaluation import score

    progress = Progress()
    texts = [text for _, text in corpus.held_out(name)]
    scores = score(
        model,
        tokenizer,
        texts,
        on_progress=lambda done, total: progress.show(f"{done}/{total} tokens"),
    )
    progress.close()
    return scores


def held_out_measures(model, tokenizer) -> dict:
    """Bits par octet, perplexité et exactitude sur les textes retenus, fenêtre glissante."""
    import math

    from llmbook import corpus

    found = {}
    for name in corpus.HELD_OUT:
        scores = held_out_scores(model, tokenizer, name)
        n_tokens = sum(s.n_tokens for s in scores)
        found[name] = {
            "bits_par_octet": round(
                sum(s.bits for s in scores) / sum(s.n_bytes for s in scores), 4
            ),
            "perplexite": round(math.exp(sum(s.nats for s in scores) / n_tokens), 3),
            "exactitude": round(sum(s.n_correct for s in scores) / n_tokens, 4),
            "tokens": n_tokens,
            "octets": sum(s.n_bytes for s in scores),
            "par_document": {
                title: round(s.bits / s.n_bytes, 3)
                for (title, _), s in zip(corpus.held_out(name), scores, strict=True)
            },
        }
    return {"contexte": model.config.context, "pas": model.config.context // 2, **found}


def held_out_bits(model, tokenizer) -> dict:
    measures = held_out_measures(model, tokenizer)
    return {name: measures[name]["bits_par_octet"] for name in ("retenu", "retenu_francais")}


def rivals(tokenizer) -> dict:
    """Ce que font xz -9e et un Kneser–Ney d’ordre 5, appris sur le même corpus, mêmes tokens."""
    import numpy as np

    from llmbook import corpus
    from llmbook.evaluation import compressed_bits_per_byte
    from llmbook.kneser_ney import NgramLM

    ngrams = NgramLM(
        np.load(CACHE / TOKENS), order=5, vocab_size=tokenizer.vocab_size, fin=tokenizer.fin
    )
    found = {}
    for name in corpus.HELD_OUT:
        texts = [text for _, text in corpus.held_out(name)]
        found[name] = {
            "xz -9e": round(compressed_bits_per_byte("".join(texts)), 4),
            "Kneser–Ney, ordre 5": round(ngrams.bits_per_byte(texts, tokenizer), 4),
        }
    return found


def sample_measures(model, tokenizer) -> dict:
    """Part des échantillons que ast.parse accepte, et part de lignes recopiées, par méthode."""
    import torch

    from llmbook.evaluation import (
        complete_parse_rate,
        complete_statements,
        copied_share,
        line_index,
        parse_failures,
        parse_rate,
        repetition_rate,
    )

    index = line_index((d.text for d in documents()), n=COPIED_LINES)
    found, progress = {}, Progress()
    for method, options in METHODS.items():
        progress.show(method)
        generator = torch.Generator().manual_seed(0)
        ids = samples_together(model, tokenizer.fin, options, generator)
        samples = [tokenizer.decode(each) for each in ids]
        cut = complete_parse_rate(samples)
        found[method] = {
            "analyse_apres_coupe": [round(x, 3) for x in cut[:3]],
            "analyse_telle_quelle": [round(x, 3) for x in parse_rate(samples)[:3]],
            "echecs": dict(parse_failures([complete_statements(s) for s in samples])),
            "repetition": mean(repetition_rate(i) for i in ids if len(i) > 8),
            "recopie": mean(copied_share(s, index) for s in samples if s.strip()),
            "exemple": samples[0],
        }
    progress.close()
    return found


def samples_together(model, fin: int, options: dict, generator) -> list[list[int]]:
    """SAMPLES textes depuis `fin`, en un seul lot : SAMPLE_TOKENS tokens au plus, `fin` exclu."""
    import torch

    from llmbook.generation_sampling import Sampling

    sampling = Sampling(**options)
    cache = model.new_cache(SAMPLES, SAMPLE_TOKENS)
    tokens = torch.full((SAMPLES, 1), fin)
    written = []
    with torch.no_grad():
        for _ in range(SAMPLE_TOKENS):
            logits = sampling.filtered(model(tokens, cache)[:, -1].float())
            tokens = torch.multinomial(logits.softmax(-1), 1, generator=generator)  # (SAMPLES, 1)
            written.append(tokens)
    rows = torch.cat(written, dim=1).tolist()
    return [row[: row.index(fin)] if fin in row else row for row in rows]


def mean(values) -> float:
    values = list(values)
    return round(sum(values) / len(values), 4)
