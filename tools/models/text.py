"""Le texte d’une carte de modèle : des faits lus dans les fichiers du modèle, rien d’autre."""

import json
from collections import Counter
from pathlib import Path

from llmbook.corpus import HELD_OUT
from tools.bench import fr

SENTENCES = {
    "nano": "Le modèle de langage du livre : petit, rapide, lisible.",
    "petit": "Le grand frère de `nano`, au même tokeniseur, livré en entiers de 8 bits.",
}
TEMPLATE = """---
language: [fr, code]
license: mit
library_name: transformers
pipeline_tag: text-generation
---

# {name}

{sentence} Architecture Llama, {parameters} M de paramètres,
{layers} couches de {width} canaux, contexte de {context} tokens, vocabulaire de {vocab} tokens
d’octets. Il complète du Python et, moins bien, du français. C’est un modèle d’étude : n’en attendez
ni faits, ni code sûr.

```python
from llmbook.model import LanguageModel
from llmbook.tokenizer import Tokenizer

model = LanguageModel.from_pretrained("models/{name}")
tokenizer = Tokenizer.from_pretrained("models/{name}")
```

ou `AutoModelForCausalLM.from_pretrained("models/{name}")`{extra}.

## Ce qu’il vaut

Bits par octet (moins est mieux) sur des textes retenus par empreinte de leur nom, jamais appris :
{count} fichiers de la bibliothèque standard ({kilobytes} ko) et des pages de ce livre
({french_kilobytes} ko). Fenêtre de {window} tokens qui avance de {stride} ; un document commence
par `<|fin|>`.

| | Python retenu | français retenu |
|---|---|---|
{scores}

Exactitude du token suivant : {accuracy} % en Python, {french_accuracy} % en français.
Perplexité par token : {perplexity} et {french_perplexity}.

## Ce qu’il écrit

{samples} échantillons de {sample_tokens} tokens par méthode, depuis `<|fin|>`,
graine 0. « Analysés » : part que `ast.parse` accepte une fois coupée la dernière instruction, que
la longueur a tronquée (intervalle de Wilson à 95 %). « Recopié » : part des lignes prises dans une
suite de {copied} lignes du corpus.

| tirage | analysés | répété (4-grammes) | recopié |
|---|---|---|---|
{methods}

## Données

{documents} documents, {megabytes} Mo, {tokens} M de tokens avec les répétitions (français
{french_repeats} fois, bibliothèque standard {stdlib_repeats} fois) :

- bibliothèque standard de CPython {python} : {stdlib_mb} Mo (licence PSF) ;
- {packages} distributions installées par les extras du livre : {packages_mb} Mo ;
- français : {french_mb} Mo, les pages et le code commenté de ce livre (CC BY-SA 4.0, MIT), et les
  traductions de JupyterLab (BSD).

Licences déclarées des distributions : {licences}.
Écartées pour leur licence : {refused}.

Fichiers écartés, par motif :

{rejected}

Les {leaks} fichiers proches d’un texte retenu (fenêtres communes de 13 mots) sont nommés dans
`entrainement.json`.

## Entraînement

{steps} pas de {step_tokens} tokens, soit {seen} M de tokens ({epochs} passages sur le corpus),
en {minutes} sur {hardware} (torch {torch}, bfloat16). {optimizer}, planification
{schedule}, échauffement de {warmup} pas. La courbe est dans `journal.jsonl` ; le chapitre 7 la lit.
Pour refaire :
`python -m tools modele corpus`, `tokeniseur`, `entrainer {name}`, `mesurer {name}`.

## Limites

- Le français est rare dans le corpus : le modèle imite sa forme, pas son sens.
- Le corpus contient des docstrings en anglais : il en écrit aussi, et beaucoup.
- Il peut recopier des lignes de son corpus, avec leur licence ; il peut écrire du code faux.
- Rien n’a été fait pour qu’il suive des consignes ou refuse quoi que ce soit.

Poids : `model.safetensors`, {weights_mb} Mo, SHA-256
`{sha256}`.
"""


def render(name: str, folder: Path) -> str:
    """La carte, d’après mesures.json et entrainement.json. ValueError si l’un manque."""
    measures, trained = (load(folder / f"{part}.json") for part in ("mesures", "entrainement"))
    corpus, shape, recipe = trained["corpus"], trained["modele"], trained["recette"]
    python, french = measures["retenu"], measures["retenu_francais"]
    sizes = corpus["octets"]
    per_step = recipe["batch_size"] * recipe["accumulate"] * recipe["context"]
    licences = Counter(
        text.partition("(")[2].removesuffix(")") for text in corpus["distributions"].values()
    )
    return TEMPLATE.format(
        name=name,
        sentence=SENTENCES[name],
        extra=" (avec le paquet `compressed-tensors`)" if name == "petit" else "",
        parameters=fr(measures["parametres"] / 1e6, 1),
        layers=shape["n_layers"],
        width=shape["d_model"],
        context=grouped(shape["context"]),
        vocab=grouped(shape["vocab_size"]),
        count=len(python["par_document"]),
        kilobytes=round(python["octets"] / 1000),
        french_kilobytes=round(french["octets"] / 1000),
        window=grouped(measures["contexte"]),
        stride=measures["pas"],
        scores=scores(name, measures, folder),
        accuracy=fr(100 * python["exactitude"], 1),
        french_accuracy=fr(100 * french["exactitude"], 1),
        perplexity=fr(python["perplexite"]),
        french_perplexity=fr(french["perplexite"]),
        samples=100,
        sample_tokens=200,
        copied=5,
        methods="\n".join(row(*item) for item in measures["echantillons"].items()),
        documents=grouped(corpus["documents"]),
        megabytes=round(sum(sizes.values()) / 1e6),
        tokens=fr(corpus["tokens"] / 1e6, 1),
        french_repeats=corpus["repetitions"]["francais"],
        stdlib_repeats=corpus["repetitions"]["stdlib"],
        python=corpus["python"],
        stdlib_mb=fr(sizes["stdlib"] / 1e6, 1),
        packages=len(corpus["distributions"]),
        packages_mb=round(sizes["paquets"] / 1e6),
        french_mb=fr(sizes["francais"] / 1e6, 1),
        licences=", ".join(f"{licence} ({n})" for licence, n in licences.most_common(6))
        + f" et {max(0, len(licences) - 6)} autres",
        refused=", ".join(sorted(corpus["distributions_ecartees"])),
        rejected="\n".join(f"- {why} : {grouped(n)}" for why, n in corpus["ecartes"].items()),
        leaks=len(corpus["fuites"]),
        steps=grouped(recipe["steps"]),
        step_tokens=grouped(per_step),
        seen=round(trained["tokens_vus"] / 1e6),
        epochs=fr(trained["tokens_vus"] / corpus["tokens"], 1),
        minutes=f"{trained['secondes'] / 60:.1f} minutes".replace(".", ","),
        hardware=trained["materiel"],
        torch=trained["torch"],
        optimizer="Muon et AdamW" if recipe["optimizer"] == "muon" else "AdamW",
        schedule=recipe["schedule"],
        warmup=recipe["warmup"],
        weights_mb=fr(measures["octets_des_poids"] / 1e6, 1),
        sha256=measures["sha256"],
    )


def scores(name: str, measures: dict, folder: Path) -> str:
    """Les lignes du tableau : ce modèle, ce qu’il valait avant l’int8, les repères, l’autre modèle."""

    def line(label, python, french):
        return f"| {label} | {fr(python, 3)} | {fr(french, 3)} |"

    lines = [line(f"**{name}**", *(measures[k]["bits_par_octet"] for k in HELD_OUT))]
    if before := measures.get("bits_par_octet_avant_int8"):
        lines.append(line(f"{name}, en bfloat16", *(before[k] for k in HELD_OUT)))
    nano = measures if name == "nano" else load(folder.parent / "nano" / "mesures.json")
    if name != "nano":
        lines.append(line("nano", *(nano[k]["bits_par_octet"] for k in HELD_OUT)))
    lines += [
        line(label, *(nano["reperes"][k][label] for k in HELD_OUT))
        for label in nano["reperes"]["retenu"]
    ]
    return "\n".join(lines)


def grouped(n: int) -> str:
    """15905 -> « 15 905 »."""
    return f"{n:,}".replace(",", "\u202f")


def row(method: str, found: dict) -> str:
    value, low, high = (round(100 * x) for x in found["analyse_apres_coupe"])
    repeated, copied = (fr(100 * found[k], 1) for k in ("repetition", "recopie"))
    return f"| {method} | {value} % ({low} à {high}) | {repeated} % | {copied} % |"


def load(path: Path) -> dict:
    if not path.exists():
        raise ValueError(f"{path} manque : python -m tools modele mesurer {path.parent.name}")
    return json.loads(path.read_text(encoding="utf-8"))
