"""Ce que vaut models/nano-instruct : questions et tâches de test, oubli, échecs ; puis sa carte."""

import hashlib
import json
from pathlib import Path

from tools.affinage.instruct import ADAPTER, BASE, check_trained
from tools.bench import fr
from tools.messages import Progress, say, step

SAMPLES, TEMPERATURE = 5, 0.6  # pour pass@5
SHOTS = 5
FAILURES = 2  # par famille, montrées dans la carte


def main(folder: Path, again: bool = True) -> None:
    check_trained(folder)
    path = folder / "mesures.json"
    if again:
        text = json.dumps(measured(folder), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(render(folder), encoding="utf-8")
    say(f"{folder} : mesures.json et README.md écrits.")


def measured(folder: Path) -> dict:
    from llmbook import instructions
    from llmbook.evaluation_answers import paired_difference, score_answers
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(folder)
    models = {"base": LanguageModel.from_pretrained(BASE).eval()}
    models["instruct"] = LanguageModel.from_pretrained(folder).eval()
    items = questions("test")
    shots = one_per_family(questions("train"))[:SHOTS]
    found = {
        "parametres": models["instruct"].n_parameters(),
        "sha256": digest(folder / "model.safetensors"),
        "sha256_adaptateur": digest(folder / ADAPTER / "adapter_model.safetensors"),
        "octets": (folder / "model.safetensors").stat().st_size,
        "octets_adaptateur": (folder / ADAPTER / "adapter_model.safetensors").stat().st_size,
        "exemples_du_prompt": [shot["id"] for shot in shots],
    }
    scores, answers = {}, {}
    for name, model, prompt in (
        ("instruct", models["instruct"], None),
        ("base_gabarit", models["base"], None),
        ("base_exemples", models["base"], shots),
    ):
        step(f"{name} : {len(items)} questions de test")
        answers[name] = ask(model, tokenizer, items, prompt)
        scores[name] = score_answers(items, answers[name])
    unseen = [i for i, item in enumerate(items) if item["retenu"]]
    found["questions"] = {
        name: {
            "exact": rate(score.total),
            "familles": {family: rate(r) for family, r in score.families.items()},
            "modules_jamais_lus": rate(
                score_answers([items[i] for i in unseen], [answers[name][i] for i in unseen]).total
            ),
        }
        for name, score in scores.items()
    }
    gap = paired_difference(scores["instruct"].correct, scores["base_exemples"].correct)
    found["ecart_apparie"] = [round(x, 4) for x in gap[:3]]
    found["p_value"] = float(f"{gap.p_value:.2g}")
    found["frequent"] = rate(majority(items))
    found["echecs"] = failures(items, answers["instruct"], scores["instruct"].correct)
    found |= tasks(models, tokenizer, instructions.load("taches", "test"))
    found["dialogues"] = dialogue_loss(models, tokenizer)
    found["oubli"] = forgetting(models, tokenizer)
    return found


def questions(split: str) -> list[dict]:
    """Les questions composées à réponse canonique, d’un seul tour."""
    from llmbook import instructions

    rows = instructions.load("composes", split)
    return [r for r in rows if r["reponse"] is not None and len(r["messages"]) == 2]


def one_per_family(items: list[dict]) -> list[dict]:
    return list({item["famille"]: item for item in items}.values())


def ask(model, tokenizer, items, shots) -> list[str]:
    from llmbook.evaluation_answers import answer_questions

    progress = Progress()
    found = answer_questions(
        model,
        tokenizer,
        items,
        max_tokens=40,
        shots=shots,
        on_progress=lambda done, total: progress.show(f"{done}/{total}"),
    )
    progress.close()
    return found


def majority(items):
    """Le repère le plus bas : répondre toujours la réponse la plus fréquente de la famille."""
    from collections import Counter

    from llmbook.evaluation import wilson

    common = {}
    for item in questions("train"):
        common.setdefault(item["famille"], Counter())[item["reponse"]] += 1
    right = sum(common[i["famille"]].most_common(1)[0][0] == i["reponse"] for i in items)
    return wilson(right, len(items))


def failures(items, answers, correct) -> list[dict]:
    """Les premiers échecs de chaque famille, tels quels."""
    shown, count = [], {}
    for item, answer, ok in zip(items, answers, correct, strict=True):
        family = item["famille"]
        if not ok and count.get(family, 0) < FAILURES:
            count[family] = count.get(family, 0) + 1
            shown.append(
                {
                    "famille": family,
                    "question": item["messages"][0]["content"],
                    "attendu": item["reponse"],
                    "obtenu": answer,
                }
            )
    return sorted(shown, key=lambda row: row["famille"])


def tasks(models, tokenizer, rows) -> dict:
    """pass@1 et pass@5 sur les tâches de test ; les schémas jamais appris à part."""
    from llmbook.evaluation_answers import pass_at_k_interval, solve_tasks
    from llmbook.instructions import load

    found = {}
    shots = load("taches", "train")[:2]
    for name, prompt in (("instruct", None), ("base", shots)):
        step(f"{name} : {len(rows)} tâches, {SAMPLES} échantillons")
        progress = Progress()
        solved = solve_tasks(
            models[name],
            tokenizer,
            rows,
            SAMPLES,
            TEMPERATURE,
            max_tokens=120,
            shots=prompt,
            on_progress=lambda done, total, progress=progress: progress.show(f"{done}/{total}"),
        )
        progress.close()
        new = [bool(row.get("nouveau_schema")) for row in rows]
        groups = {
            "tous": solved.counts,
            "schemas_appris": [c for c, n in zip(solved.counts, new, strict=True) if not n],
            "schemas_nouveaux": [c for c, n in zip(solved.counts, new, strict=True) if n],
        }
        found[name] = {
            group: {f"pass@{k}": rate(pass_at_k_interval(counts, k)) for k in (1, SAMPLES)}
            for group, counts in groups.items()
            if counts
        } | {"raisons": dict(solved.reasons)}
    return {"taches": found}


def dialogue_loss(models, tokenizer) -> dict:
    """Nats par token de réponse sur les dialogues écrits de test : la forme, pas la justesse."""
    from llmbook import instructions
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import validation_loss
    from tools.affinage.recette import CONTEXT

    rows = instructions.load("dialogues", "test") + instructions.load("dialogues", "validation")
    examples = encode_examples(tokenizer, rows, CONTEXT, too_long="skip")
    batches = SupervisedBatches(examples, 8, CONTEXT, seed=0)
    losses = {name: round(validation_loss(model, batches), 3) for name, model in models.items()}
    return losses | {"exemples": len(examples)}


def forgetting(models, tokenizer) -> dict:
    """Bits par octet des textes retenus, avant et après : ce que l’affinage a coûté."""
    from llmbook import corpus
    from llmbook.evaluation import bits_per_byte

    step("Textes retenus, avant et après")
    found = {}
    for part in corpus.HELD_OUT:
        texts = [text for _, text in corpus.held_out(part)]
        found[part] = {
            name: round(bits_per_byte(model, tokenizer, texts), 4) for name, model in models.items()
        }
    return found


def rate(value) -> list[float]:
    return [round(x, 4) for x in value[:3]] + [value.n]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# La carte

TEMPLATE = """---
language: [fr, code]
license: mit
library_name: transformers
pipeline_tag: text-generation
base_model: models/nano
---

# nano-instruct

`nano` affiné pour répondre en français à des questions sur la bibliothèque standard de Python, et
pour écrire de très petites fonctions. Le dossier contient l’adaptateur LoRA ({adapter_kb} ko, format
de PEFT) et le modèle fusionné ({megabytes} Mo). C’est un modèle d’étude de {parameters} M de
paramètres : ses réponses sont souvent fausses, et rien ne le lui fait dire.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("models/nano-instruct")
tokenizer = AutoTokenizer.from_pretrained("models/nano-instruct")
messages = [{{"role": "user", "content": "Comment importer `copysign` du module `math` ?"}}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=40)[0]))
```

L’adaptateur seul, sur sa base : `PeftModel.from_pretrained(base, "models/nano-instruct/{adapter}")`,
ou `llmbook.lora_files.load_adapter`.

## Ce qu’il vaut

{n} questions de test, composées sur des clés jamais apprises ; réponse exacte du premier coup, décodage
glouton, intervalle de Wilson à 95 %. « base, 5 exemples » : `nano`, prompt de cinq questions résolues.

| famille | nano-instruct | nano, 5 exemples |
|---|---|---|
{families}

Écart apparié avec la base à 5 exemples : {gap} points (intervalle à 95 % : {gap_low} à {gap_high}).
La base qui reçoit le gabarit de dialogue : {template}. Toujours la réponse la plus fréquente de la
famille : {frequent}. Sur les {unseen_n} questions tirées de modules que `nano` n’a jamais lus :
{unseen}.

### Code exécuté

{task_n} tâches de test, {samples} échantillons à température {temperature}, exécutés dans l’enceinte de
`llmbook.sandbox` ; intervalle par rééchantillonnage des tâches.

| | pass@1 | pass@{samples} |
|---|---|---|
{tasks}

Échecs de nano-instruct : {reasons}.

### Ce que l’affinage a coûté

| bits par octet (moins est mieux) | nano | nano-instruct |
|---|---|---|
{forgetting}

Sur les {dialogue_n} dialogues écrits de test et de validation, la surprise d’un token de réponse
passe de {dialogue_base} à {dialogue_instruct} nats : {dialogue_verdict}

## Ce qu’il rate

{failures}

## Données et entraînement

{examples} exemples : questions composées, tâches vérifiables et dialogues écrits pour ce livre
(`llmbook/data/instructions/README.md`), parts d’apprentissage seulement. LoRA de rang {rank},
α = {alpha}, sur toutes les matrices des couches ; {epochs} époques de lots de {batch}, taux
{learning_rate}, {steps} pas, sur {hardware} (torch {torch}). Le taux et la durée ont
été choisis sur la part de validation, parmi {attempts} essais, donnés dans
`entrainement.json`.

LoRA laisse gelée la table des plongements, où les marques de dialogue n’avaient jamais servi : la
probabilité de `<|im_end|>` à sa place n’était que de {mark_before}. Leurs deux lignes ont été apprises
ensuite, en {mark_steps} pas de {mark_batch} exemples sur processeur ; elle vaut {mark_after}, et
l’adaptateur les contient (`trainable_token_indices`).

Pour refaire : `python -m tools.affinage instruct entrainer`, puis `marques`, puis `mesurer`.

Poids : SHA-256 `{sha256}`.
"""


def render(folder: Path) -> str:
    """La carte, d’après mesures.json et entrainement.json : aucun nombre saisi à la main."""
    measures, run = (
        json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        for part in ("mesures", "entrainement")
    )
    asked, solved, recipe = measures["questions"], measures["taches"], run["recette"]
    ours, few = asked["instruct"], asked["base_exemples"]
    lines = [
        f"| {family} ({ours['familles'][family][3]}) | {shown(ours['familles'][family])} "
        f"| {shown(few['familles'][family])} |"
        for family in ours["familles"]
    ]
    lines.append(f"| **toutes** | **{shown(ours['exact'])}** | {shown(few['exact'])} |")
    labels = {
        "tous": "toutes",
        "schemas_appris": "schémas appris, autres paramètres",
        "schemas_nouveaux": "schémas jamais vus",
    }
    rows = [
        f"| {model}, {labels[group]} | {shown(found['pass@1'])} | {shown(found[f'pass@{SAMPLES}'])} |"
        for model, key in (("nano-instruct", "instruct"), ("nano, 2 exemples", "base"))
        for group, found in solved[key].items()
        if group != "raisons"
    ]
    parts = {"retenu": "Python retenu", "retenu_francais": "français retenu"}
    gap, low, high = (fr(100 * x, 1) for x in measures["ecart_apparie"])
    reasons = sorted(solved["instruct"]["raisons"].items(), key=lambda item: -item[1])
    return TEMPLATE.format(
        adapter=ADAPTER,
        adapter_kb=round(measures["octets_adaptateur"] / 1000),
        megabytes=fr(measures["octets"] / 1e6, 1),
        parameters=fr(measures["parametres"] / 1e6, 1),
        n=ours["exact"][3],
        families="\n".join(lines),
        gap=gap,
        gap_low=low,
        gap_high=high,
        template=shown(asked["base_gabarit"]["exact"]),
        frequent=shown(measures["frequent"]),
        unseen=shown(ours["modules_jamais_lus"]),
        unseen_n=ours["modules_jamais_lus"][3],
        task_n=solved["instruct"]["tous"]["pass@1"][3],
        samples=SAMPLES,
        temperature=fr(TEMPERATURE, 1),
        tasks="\n".join(rows),
        reasons=", ".join(f"{name} {count}" for name, count in reasons),
        forgetting="\n".join(
            f"| {parts[k]} | {fr(v['base'], 3)} | {fr(v['instruct'], 3)} |"
            for k, v in measures["oubli"].items()
        ),
        dialogue_n=measures["dialogues"]["exemples"],
        dialogue_base=fr(measures["dialogues"]["base"], 2),
        dialogue_instruct=fr(measures["dialogues"]["instruct"], 2),
        dialogue_verdict=verdict(measures["dialogues"]),
        mark_before=fr(run["marques"]["probabilite_de_fin"][0], 3),
        mark_after=fr(run["marques"]["probabilite_de_fin"][1], 3),
        mark_steps=run["marques"]["pas"],
        mark_batch=run["marques"]["lot"],
        failures="\n".join(failure(row) for row in measures["echecs"]),
        examples=run["exemples"],
        rank=recipe["rank"],
        alpha=f"{recipe['alpha']:g}",
        epochs=f"{recipe['epochs']:g}",
        batch=recipe["batch_size"],
        learning_rate=f"{recipe['learning_rate']:g}".replace(".", ","),
        steps=run["pas"],
        hardware=run["materiel"],
        torch=run["torch"],
        attempts=len(run["essais"]),
        sha256=measures["sha256"],
    )


def verdict(losses: dict) -> str:
    if losses["instruct"] < losses["base"]:
        return "il en a appris la forme."
    return (
        "elle monte. Quelques centaines\nde dialogues revus seize fois ont été retenus plutôt "
        "qu’appris : pour converser librement, ce modèle\nne vaut pas mieux que sa base."
    )


def shown(found: list[float]) -> str:
    """[0.51, 0.44, 0.58, n] -> « 51 % (44 à 58) »."""
    value, low, high = (round(100 * x) for x in found[:3])
    return f"{value} % ({low} à {high})"


def failure(row: dict) -> str:
    def flat(text: str) -> str:
        return " ".join(text.split())

    return (
        f"- {row['famille']} — {flat(row['question'])}\n"
        f"  Attendu : `{flat(row['attendu'])}`. Obtenu : {flat(row['obtenu']) or '(rien)'}"
    )
