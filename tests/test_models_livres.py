"""Les modèles de `models/` : ils se chargent partout, et valent ce que dit leur carte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbook import corpus
from llmbook.evaluation import compressed_bits_per_byte, score
from llmbook.model import LanguageModel
from llmbook.tokenizer import Tokenizer
from tools.models.recipes import RECIPES
from tools.models.text import render

MODELS = Path(__file__).resolve().parents[1] / "models"
LIMIT_MB = {"nano": 12, "petit": 32}
NAMES = sorted(LIMIT_MB)


def read(name: str, part: str) -> dict:
    return json.loads((MODELS / name / f"{part}.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return LanguageModel.from_pretrained(MODELS / name).eval()


def test_it_is_small_and_safe(name):
    files = {path.suffix for path in (MODELS / name).iterdir()}
    assert files == {".json", ".jsonl", ".safetensors", ".md"}  # ni pickle, ni binaire d’ailleurs
    total = sum(path.stat().st_size for path in (MODELS / name).iterdir())
    assert total <= LIMIT_MB[name] * 1e6


def test_weights_are_those_of_the_card(name):
    weights = (MODELS / name / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == read(name, "mesures")["sha256"]


def test_card_is_up_to_date(name):
    assert (MODELS / name / "README.md").read_text("utf-8") == render(name, MODELS / name)


def test_shape_and_training_are_the_recipe(name, model):
    recipe, trained = RECIPES[name], read(name, "entrainement")
    assert model.config == recipe.model
    settings = trained["recette"]
    assert settings == {k: getattr(recipe.train, k) for k in settings}
    assert model.n_parameters() == trained["parametres"]


def test_transformers_reads_it_and_gives_the_same_logits(name, model):
    theirs = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(MODELS / name)("def parse(text):\n    return")["input_ids"]
    assert ids == Tokenizer.from_pretrained(MODELS / name).encode("def parse(text):\n    return")
    with torch.no_grad():
        ours, expected = model(torch.tensor([ids])), theirs(torch.tensor([ids])).logits
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-4)
    assert theirs.generation_config.eos_token_id == 0


def test_held_out_documents_cost_what_the_card_says(name, model):
    """Quelques documents remesurés ; le reste de la table vient du même calcul."""
    measures, tokenizer = read(name, "mesures"), Tokenizer.from_pretrained(MODELS / name)
    texts = dict(corpus.held_out())
    assert set(measures["retenu"]["par_document"]) == set(texts)
    for title in ("asyncio/staggered.py", "asyncio/threads.py", "token.py"):
        (found,) = score(model, tokenizer, [texts[title]])
        expected = measures["retenu"]["par_document"][title]
        assert found.bits / found.n_bytes == pytest.approx(expected, abs=0.004), title


def test_it_beats_the_compressor_and_the_ngrams():
    rivals = read("nano", "mesures")["reperes"]
    text = "".join(text for _, text in corpus.held_out())
    assert rivals["retenu"]["xz -9e"] == pytest.approx(compressed_bits_per_byte(text), abs=0.005)
    for name in NAMES:
        ours = read(name, "mesures")["retenu"]["bits_par_octet"]
        assert ours < 0.8 * min(rivals["retenu"].values()), name


def test_most_samples_parse():
    for name in NAMES:
        rates = read(name, "mesures")["echantillons"]
        assert max(found["analyse_apres_coupe"][0] for found in rates.values()) > 0.5


def test_held_out_names_are_the_frozen_ones(name):
    held = read(name, "entrainement")["corpus"]["retenus"]
    assert held["stdlib"] == sorted(title for title, _ in corpus.held_out())
    pages = sorted(title for title, _ in corpus.held_out("retenu_francais"))
    assert held["francais"] == [f"book/{title}" for title in pages]


def test_the_log_is_whole(name):
    rows = [json.loads(line) for line in (MODELS / name / "journal.jsonl").open(encoding="utf-8")]
    recipe = RECIPES[name].train
    steps = np.array([row["step"] for row in rows])
    per_step = recipe.batch_size * recipe.accumulate * recipe.context
    assert steps[-1] == recipe.steps and (np.diff(steps) > 0).all()
    assert all(row["tokens"] == row["step"] * per_step for row in rows)
    evaluated = [row for row in rows if "retenu" in row]
    assert [row["step"] for row in evaluated] == [
        *range(recipe.eval_every, recipe.steps + 1, recipe.eval_every)
    ]
    published = read(name, "mesures")["retenu"]["bits_par_octet"]
    logged = evaluated[-1]["retenu"]  # fenêtres disjointes : un peu pessimiste
    assert 0.9 * logged < published < logged
