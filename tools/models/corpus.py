"""Assembler le corpus des modèles livrés, puis le ranger en tokens.

Deux étapes, deux dossiers dans `.cache/modeles` :
- `corpus` : documents.jsonl.xz, un document par ligne, et corpus.json, ce qui a été pris et écarté ;
- `tokeniseur` : models/nano/tokenizer.json, et tokens.npy, un tableau plat d’entiers de 16 bits où
  chaque document est précédé de <|fin|>.
"""

import hashlib
import json
import lzma
import platform
from collections import Counter
from pathlib import Path

import numpy as np

from tools.messages import Panne, Progress, say, step
from tools.models.filters import Sieve
from tools.models.sources import (
    ROOT,
    Document,
    french_documents,
    package_documents,
    stdlib_documents,
)

CACHE = ROOT / ".cache" / "modeles"
DOCUMENTS, SUMMARY, TOKENS = "documents.jsonl.xz", "corpus.json", "tokens.npy"
PACKAGE_BYTES = 12_000_000  # plafond par paquet : sans lui, transformers serait le tiers du corpus
VOCAB_SIZE = 4096
TOKENIZER_BYTES = 13_000_000  # de quoi apprendre les fusions
FRENCH_REPEATS = 4  # le français est rare : chaque document français revient quatre fois
STDLIB_REPEATS = 2


# --- assembler ----------------------------------------------------------------------------------


def gather() -> tuple[list[Document], dict]:
    """Les documents à apprendre, et le compte rendu de ce qui a été pris ou écarté."""
    stdlib, held = stdlib_documents()
    french, held_french = french_documents()
    packages, taken, refused = package_documents()
    sieve = Sieve([(document.name, document.text) for document in (*held, *held_french)])
    kept, sizes, capped, progress = [], Counter(), Counter(), Progress()
    for document in (*stdlib, *french, *shuffled(packages)):
        size = len(document.text.encode())
        if document.owner in taken and sizes[document.owner] + size > PACKAGE_BYTES:
            capped[document.owner] += 1
        elif not sieve.reject(document.name, document.text, document.owner != "francais"):
            kept.append(document)
            sizes[document.owner] += size
        progress.show(f"{len(kept)} documents, {sum(sizes.values()) / 1e6:.0f} Mo")
    progress.close()
    summary = {
        "python": platform.python_version(),
        "documents": len(kept),
        "octets": {
            "stdlib": sizes["stdlib"],
            "francais": sizes["francais"],
            "paquets": sum(sizes[name] for name in taken),
        },
        "retenus": {
            "stdlib": sorted(document.name for document in held),
            "francais": sorted(document.name for document in held_french),
        },
        "ecartes": dict(sieve.reasons.most_common()),
        "fuites": dict(sorted(sieve.leaks.items())),
        "au_dela_du_plafond": dict(capped),
        "distributions": {name: taken[name] for name in sorted(taken) if sizes[name]},
        "distributions_ecartees": refused,
    }
    return kept, summary


def shuffled(found: list[Document]) -> list[Document]:
    """Dans un ordre tiré de leur nom : le plafond d’un paquet en garde un échantillon."""
    return sorted(found, key=lambda d: hashlib.blake2b(d.name.encode()).digest())


def main(options) -> int:
    """L’étape « corpus »."""
    step("Corpus : bibliothèque standard, paquets installés, livre")
    documents, summary = gather()
    CACHE.mkdir(parents=True, exist_ok=True)
    with lzma.open(CACHE / DOCUMENTS, "wt", encoding="utf-8", preset=1) as file:
        for document in documents:
            file.write(json.dumps([document.owner, document.name, document.text]) + "\n")
    write_json(CACHE / SUMMARY, summary)
    sizes = ", ".join(f"{kind} {size / 1e6:.1f} Mo" for kind, size in summary["octets"].items())
    say(f"{summary['documents']} documents ({sizes}).")
    say("Écartés : " + ", ".join(f"{n} {why}" for why, n in summary["ecartes"].items()) + ".")
    return 0


def documents() -> list[Document]:
    path = CACHE / DOCUMENTS
    if not path.exists():
        raise Panne("Le corpus n’est pas assemblé.", "python -m tools modele corpus")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [Document(*json.loads(line)) for line in file]


# --- ranger en tokens ---------------------------------------------------------------------------


def tokenizer_texts(documents: list[Document]) -> list[str]:
    """Les textes où s’apprennent les fusions : tout le français, la stdlib, un peu des paquets."""
    chosen = [d.text for d in documents if d.owner == "francais" for _ in range(2)]
    chosen += [d.text for d in documents if d.owner == "stdlib"]
    size = sum(len(text.encode()) for text in chosen)
    for document in documents:
        if document.owner in ("francais", "stdlib") or len(document.text) > 40_000:
            continue
        if size < TOKENIZER_BYTES:
            chosen.append(document.text)
            size += len(document.text.encode())
    return chosen


def repeats(document: Document) -> int:
    return {"francais": FRENCH_REPEATS, "stdlib": STDLIB_REPEATS}.get(document.owner, 1)


def flat_tokens(documents: list[Document], tokenizer) -> np.ndarray:
    """Tous les documents bout à bout, chacun précédé de <|fin|>, mêlés : (N,) uint16.

    Les documents répétés le sont à des endroits différents : leurs copies sont mêlées aux autres.
    """
    encoded = [tokenizer.encode_array(document.text) for document in documents]
    order = [i for i, document in enumerate(documents) for _ in range(repeats(document))]
    np.random.default_rng(0).shuffle(order)
    size = sum(len(encoded[i]) + 1 for i in order)
    tokens, place = np.empty(size, dtype=np.uint16), 0
    for i in order:
        tokens[place] = tokenizer.fin
        tokens[place + 1 : place + 1 + len(encoded[i])] = encoded[i]
        place += 1 + len(encoded[i])
    return tokens


def tokenize_main(options) -> int:
    """L’étape « tokeniseur »."""
    from llmbook.tokenizer import train_bpe

    found = documents()
    step(f"Tokeniseur : {VOCAB_SIZE} tokens")
    tokenizer = train_bpe(tokenizer_texts(found), VOCAB_SIZE)
    for name in ("nano", "petit"):
        tokenizer.save(ROOT / "models" / name)
    step("Corpus en tokens")
    tokens = flat_tokens(found, tokenizer)
    np.save(CACHE / TOKENS, tokens)
    summary = json.loads((CACHE / SUMMARY).read_text(encoding="utf-8"))
    text_bytes = sum(len(d.text.encode()) * repeats(d) for d in found)
    summary |= {
        "tokens": len(tokens),
        "octets_par_token": round(text_bytes / (len(tokens) - sum(map(repeats, found))), 4),
        "empreinte_tokens": hashlib.sha256(tokens.tobytes()).hexdigest(),
        "repetitions": {"francais": FRENCH_REPEATS, "stdlib": STDLIB_REPEATS},
    }
    write_json(CACHE / SUMMARY, summary)
    say(
        f"{len(tokens) / 1e6:.1f} millions de tokens, {summary['octets_par_token']:.2f} octets l’un."
    )
    return 0


def write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
