"""tools.affinage : le script de l’assistant, les balayages, la tâche des quatre voies."""

import json
from dataclasses import replace

import pytest

from llmbook import instructions
from tools.affinage import assistant, balayages, voies
from tools.affinage.__main__ import main
from tools.affinage.experience import Experience, sampled_questions, training_records
from tools.affinage.recette import records, typed
from tools.messages import Panne


def test_the_script_writes_an_adapter_peft_reads(tmp_path):
    from llmbook.lora_files import load_adapter
    from llmbook.model import LanguageModel

    lines = [json.dumps({"messages": r["messages"]}) for r in instructions.load("dialogues")[:4]]
    data = tmp_path / "mes-dialogues.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "adaptateur"
    options = ["--donnees", str(data), "--pas", "2", "--lot", "2", "--appareil", "cpu"]
    assert main(["assistant", *options, "--bits", "4", "--recalcul", "--sortie", str(out)]) == 0
    described = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    assert described["peft_type"] == "LORA" and described["r"] == 8
    load_adapter(LanguageModel.from_pretrained("models/nano"), out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--donnees", "inconnu"], "jeux inconnus"),
        (["--donnees", "absent.jsonl"], "ne se lit pas"),
        (["--plafond", "24", "--appareil", "cpu"], "borne la mémoire d’une carte"),
        (["--hasard", "12 G"], "choisir"),
        (["--cibles", "rien", "--donnees", "dialogues"], "aucune couche ne correspond"),
    ],
)
def test_bad_options_are_explained(tmp_path, options, message):
    out = tmp_path / "sortie"
    with pytest.raises(Panne, match=message):
        main(["assistant", *options, "--pas", "1", "--sortie", str(out)])
    assert not out.exists()


def test_a_published_template_gets_its_marks():
    """Le gabarit de Qwen 2.5 est du ChatML sans {% generation %} ; un autre reste tel quel."""
    from transformers import AutoTokenizer

    from llmbook.chat_template import CHATML, encode

    tokenizer = AutoTokenizer.from_pretrained("models/nano")
    tokenizer.chat_template = CHATML.replace("{%- generation %}", "").replace(
        "{%- endgeneration %}", ""
    )
    dialogue = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(ValueError, match="generation"):
        encode(tokenizer, dialogue)
    assert any(encode(assistant.marked(tokenizer), dialogue)[1])
    tokenizer.chat_template = other = CHATML + " "
    assert assistant.marked(tokenizer).chat_template == other


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"messages": []}\n{"autre": 1}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="ligne 2"):
        assistant.dialogues(str(path))


def test_a_full_folder_is_left_alone(tmp_path):
    (tmp_path / "precieux.txt").write_text("garder", encoding="utf-8")
    with pytest.raises(Panne, match="n’est pas vide"):
        main(["assistant", "--pas", "1", "--sortie", str(tmp_path)])
    assert (tmp_path / "precieux.txt").read_text(encoding="utf-8") == "garder"


def test_unknown_step():
    with pytest.raises(Panne, match="Étape inconnue"):
        main(["autre"])


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("f(a, b=None)", [("b", "None")]),
        ("m.f(a, /, b='x', *, c, d=(1, 2))", [("b", "'x'"), ("d", "(1, 2)")]),
        ("f(a)", []),
        ("f(<objet>)", []),
    ],
)
def test_defaults_of_a_signature(signature, expected):
    assert voies.defaults(signature) == expected


def test_the_four_ways_ask_without_the_signature():
    train, test = voies.task_records("train"), voies.task_records("test")
    assert not {r["cle"] for r in train} & {r["cle"] for r in test}
    for record in test:
        assert record["signature"] not in voies.closed(record)
        assert record["nom"] in record["signature"] and record["reponse"] in record["signature"]
    found = json.loads(voies.RESULTS.read_text(encoding="utf-8"))
    everything = voies.task_records("validation") + test
    assert found["questions"] == len(everything)
    assert found["frequent"] == voies.majority(train, everything)


def test_noise_changes_answers_only():
    clean = training_records(Experience(examples=200))
    noisy = training_records(Experience(examples=200, noise=0.25))
    changed = [a["messages"] != b["messages"] for a, b in zip(clean, noisy, strict=True)]
    assert 40 <= sum(changed) <= 50
    for a, b in zip(clean, noisy, strict=True):
        assert a["messages"][:-1] == b["messages"][:-1] and a["famille"] == b["famille"]
    assert sampled_questions(clean) == sampled_questions(clean)


def test_every_sweep_is_in_the_results():
    found = json.loads(balayages.RESULTS.read_text(encoding="utf-8"))
    done = {balayages.key(row) for row in found["lignes"]}
    wanted = [e for sweep in balayages.SWEEPS.values() for e in sweep]
    assert {balayages.key(vars(e)) for e in wanted} == done
    assert len(done) == len(found["lignes"]) == len(wanted)


def test_results_survive_writing_again(tmp_path):
    found = json.loads(balayages.RESULTS.read_text(encoding="utf-8"))
    balayages.write(tmp_path / "x.json", found)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == found


def test_the_recipe_types_like_a_keyboard():
    record = {
        "messages": [
            {"role": "user", "content": "L’avis « x »"},
            {"role": "assistant", "content": "l’"},
        ]
    }
    assert [m["content"] for m in typed(record)["messages"]] == ['L\'avis " x "', "l’"]
    assert len(records("validation")) < len(records("train"))
    assert replace(Experience(), rank=4).rank == 4
