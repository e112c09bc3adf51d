"""models/nano-instruct : l’adaptateur et le modèle fusionné sont le même, et valent leur carte."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbook import instructions, lora
from llmbook.chat_template import CHATML, encode
from llmbook.evaluation_answers import answer_questions, score_answers
from llmbook.lora_files import load_adapter
from llmbook.lora_tokens import token_rows
from llmbook.model import LanguageModel
from llmbook.tokenizer import Tokenizer
from tools.affinage.carte import questions, render

MODELS = Path(__file__).resolve().parents[1] / "models"
FOLDER = MODELS / "nano-instruct"
ADAPTER = FOLDER / "adaptateur"
LIMIT_MB = 12


def read(part: str) -> dict:
    return json.loads((FOLDER / f"{part}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def merged():
    return LanguageModel.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(FOLDER)


def test_it_is_small_and_safe():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ".md"}
    assert sum(path.stat().st_size for path in files) <= LIMIT_MB * 1e6


def test_weights_and_card_are_the_measured_ones():
    measures = read("mesures")
    for name, key in (
        (FOLDER / "model", "sha256"),
        (ADAPTER / "adapter_model", "sha256_adaptateur"),
    ):
        content = name.with_suffix(".safetensors").read_bytes()
        assert hashlib.sha256(content).hexdigest() == measures[key]
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == render(FOLDER)


def test_adapter_on_the_base_is_the_merged_model(merged, tokenizer):
    model = LanguageModel.from_pretrained(MODELS / "nano").eval()
    load_adapter(model, ADAPTER)
    assert token_rows(model).ids.tolist() == read("entrainement")["marques"]["tokens"]
    question = [{"role": "user", "content": "Comment importer `copysign` du module `math` ?"}]
    ids = torch.tensor([encode(tokenizer, question, add_generation_prompt=True)[0]])
    with torch.no_grad():
        expected, found = model(ids), merged(ids)
        assert (found - expected).norm() < 0.02 * expected.norm()  # arrondi en bfloat16
        again = lora.merge_and_unload(model)(ids)
    torch.testing.assert_close(again, expected, atol=2e-3, rtol=1e-3)


def test_peft_reads_the_adapter(tokenizer):
    from peft import PeftModel

    theirs = AutoModelForCausalLM.from_pretrained(MODELS / "nano", dtype=torch.float32)
    theirs = PeftModel.from_pretrained(theirs, ADAPTER).eval()
    model = LanguageModel.from_pretrained(MODELS / "nano").eval()
    load_adapter(model, ADAPTER)
    ids = torch.tensor([tokenizer.encode("def parse(text):\n    return")])
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=2e-3, rtol=1e-3)


def test_transformers_answers_and_stops(merged, tokenizer):
    theirs = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert their_tokenizer.chat_template == CHATML
    messages = [{"role": "user", "content": "Comment importer `copysign` du module `math` ?"}]
    ids = their_tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert ids["input_ids"][0].tolist() == encode(tokenizer, messages, True)[0]
    written = theirs.generate(**ids, max_new_tokens=40, do_sample=False)[
        0, len(ids["input_ids"][0]) :
    ]
    assert written[-1] == 3  # <|im_end|> : generation_config.json
    (answer,) = answer_questions(merged, tokenizer, [messages[0]["content"]], max_tokens=40)
    assert their_tokenizer.decode(written, skip_special_tokens=True) == answer
    assert answer == "`from math import copysign`"


def test_it_beats_its_base_beyond_the_intervals():
    measures = read("mesures")
    asked = measures["questions"]
    low = asked["instruct"]["exact"][1]
    assert low > asked["base_exemples"]["exact"][2] and low > asked["base_gabarit"]["exact"][2]
    assert low > measures["frequent"][2] and measures["ecart_apparie"][1] > 0
    assert measures["echecs"]  # la carte les montre


def test_some_questions_again(merged, tokenizer):
    """Une question de test sur six, reposée : le taux est celui de la carte, à l’échantillon près."""
    items = questions("test")[::6]
    answers = answer_questions(merged, tokenizer, items, max_tokens=40)
    rate = score_answers(items, answers).total
    assert rate.low <= read("mesures")["questions"]["instruct"]["exact"][0] <= rate.high


def test_it_never_saw_the_test_questions():
    keys = {r["cle"] for name in instructions.SETS for r in instructions.load(name, "train")}
    assert not keys & {
        r["cle"] for name in instructions.SETS for r in instructions.load(name, "test")
    }


def test_end_of_turn_is_learned():
    before, after = read("entrainement")["marques"]["probabilite_de_fin"]
    assert before < 0.1 and after > 0.9
