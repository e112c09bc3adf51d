"""llmbook.instructions : lecture, parts, contamination."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from llmbook import instructions
from llmbook.instructions import contamination, describe, load, split_of
from tools.instructions.files import update_sums, write_records

COMPOSED = load("composes")


# Lecture


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(instructions.FOLDER, tmp_path / "instructions")
    return tmp_path / "instructions"


def write(folder: Path, *records: dict, name: str = "essai") -> None:
    shutil.rmtree(folder / "dialogues", ignore_errors=True)
    (folder / "dialogues").mkdir(parents=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "dialogues" / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def record(**changes) -> dict:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "`b`"}]
    fields = ["x-1", "x", "c", "ecrit", messages, "b", False]
    return dict(zip(instructions.FIELDS, fields, strict=True)) | changes


def test_files_have_their_fingerprints():
    sums = instructions.recorded_sums()
    assert "composes.jsonl.xz" in sums
    for name, digest in sums.items():
        assert instructions.fingerprint(instructions.FOLDER / name) == digest, name


def test_altered_or_missing_files_are_refused(folder):
    path = folder / "composes.jsonl.xz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="empreinte n’est plus"):
        load("composes", folder=folder)
    path.write_bytes(content)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="n’a pas d’empreinte"):
        load("composes", folder=folder)
    path.unlink()
    with pytest.raises(ValueError, match="absent"):
        load("composes", folder=folder)
    shutil.rmtree(folder / "dialogues", ignore_errors=True)
    with pytest.raises(ValueError, match="aucun fichier"):
        load("dialogues", folder=folder)


def test_a_listed_dialogue_is_checked_whatever_its_line_ends(tmp_path):
    write(tmp_path, record())
    path = tmp_path / "dialogues" / "essai.jsonl"
    digest = instructions.fingerprint(path)
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  dialogues/essai.jsonl\n", encoding="utf-8")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # git sous Windows
    assert load("dialogues", folder=tmp_path) == [record()]
    path.write_bytes(path.read_bytes().replace(b"`b`", b"`d`"))
    with pytest.raises(ValueError, match="a été modifié"):
        load("dialogues", folder=tmp_path)


def test_written_sets_are_read_back(tmp_path):
    write(tmp_path, record())
    path = write_records([record(), record(id="x-2")], "taches", tmp_path)
    first = path.read_bytes()
    assert load("taches", folder=tmp_path) == [record(), record(id="x-2")]
    assert list(instructions.recorded_sums(tmp_path)) == ["taches.jsonl.xz"]  # lui seulement
    assert update_sums(tmp_path) == ["dialogues/essai.jsonl", "taches.jsonl.xz"]
    assert write_records([record(), record(id="x-2")], "taches", tmp_path).read_bytes() == first
    assert len(instructions.recorded_sums(tmp_path)) == 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"messages": []}, "messages de rôle"),
        ({"messages": [{"role": "user", "content": "a"}]}, "le dernier de l’assistant"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages de rôle"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "message est vide"),
    ],
)
def test_bad_records_say_where(tmp_path, changes, message):
    write(tmp_path, record(), record(id="x-2", **changes))
    with pytest.raises(ValueError, match=message) as error:
        load("dialogues", folder=tmp_path)
    assert "essai.jsonl, ligne 2" in str(error.value)


def test_bad_lines_and_repeated_identifiers(tmp_path):
    write(tmp_path, {"id": "x"})
    with pytest.raises(ValueError, match="champs absents : famille, cle"):
        load("dialogues", folder=tmp_path)
    write(tmp_path, record(), record(cle="autre"))
    with pytest.raises(ValueError, match="'x-1' sert deux fois"):
        load("dialogues", folder=tmp_path)
    (tmp_path / "dialogues" / "essai.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="ligne 1 : JSON invalide"):
        load("dialogues", folder=tmp_path)


def test_unknown_names():
    with pytest.raises(ValueError, match="dialogues, composes, taches"):
        load("autres")
    with pytest.raises(ValueError, match="train, validation, test"):
        load("composes", "essai")
    with pytest.raises(ValueError, match="deux mots"):
        contamination([], [], n=1)


# Parts


def test_parts_are_stable_and_have_their_shares():
    expected = {"shutil.copyfile": "train", "json.loads": "validation", "re.sub": "test"}
    assert {cle: split_of(cle) for cle in expected} == expected
    counts = Counter(split_of(f"cle {i}") for i in range(10_000))
    assert abs(counts["train"] - 8000) < 200
    assert abs(counts["validation"] - 1000) < 150


def test_parts_cover_the_set_and_share_no_key():
    parts = {name: load("composes", name) for name in instructions.SPLITS}
    assert sorted(r["id"] for part in parts.values() for r in part) == sorted(
        r["id"] for r in COMPOSED
    )
    keys = [{r["cle"] for r in part} for part in parts.values()]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert contamination(parts[first], parts[second]) == []


def test_describe_counts_everything():
    table = describe("composes")
    assert sum(table["total"][split] for split in instructions.SPLITS) == len(COMPOSED)
    assert 8 <= len(table) - 1 <= 12 and 4000 <= len(COMPOSED) <= 6000
    assert min(row["test"] for row in table.values()) >= 10
    assert table["total"]["retenu"] >= 300
    assert sum(r["retenu"] for r in load("composes", "test")) >= 30


# Contamination


def asked(cle: str, question: str) -> dict:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "`b`"}]
    return record(id=f"{cle} {question[:9]}", cle=cle, messages=messages)


def test_contamination_finds_what_is_injected():
    train, test = load("composes", "train"), load("composes", "test")
    text = "Une phrase assez longue que personne n’a jamais écrite ailleurs sur les girafes bleues."
    train = [*train, asked("girafes", text)]
    injected = [
        asked(train[0]["cle"], "Quelle heure est-il ?"),
        asked(
            "neuf",
            "UNE phrase assez longue, que personne n’a jamais écrite ailleurs : sur les "
            "girafes `bleues` ?",
        ),
        asked("autre", "Dis-moi : assez longue que personne n’a jamais écrite, c’est vrai ?"),
    ]
    found = contamination(train, [*test, *injected])
    assert [overlap.reason for overlap in found] == ["cle", "question", "fenetre"]
    assert [overlap.test for overlap in found] == [each["id"] for each in injected]
    assert found[2].train == "girafes Une phras"
    assert found[2].text == "assez longue que personne n a jamais écrite"


def test_a_shared_phrasing_is_not_contamination():
    question = "Quelle est la valeur par défaut du paramètre nommé `{}` dans cette signature ?"
    train = [asked(f"cle {i}", question.format(f"nom{i}")) for i in range(6)]
    assert contamination(train, [asked("autre", question.format("nom9"))]) == []
    assert len(contamination(train[:2], [asked("autre", question.format("nom9"))])) == 1


def test_a_solution_counts_as_text():
    code = "def f(x):\n    return sorted(set(x), key=lambda y: (-y, str(y)))[:3]"
    train = [asked("a", "Un énoncé.") | {"solution": code}]
    test = [asked("b", "Tout autre chose.") | {"solution": code.replace("def f", "def g")}]
    assert [overlap.reason for overlap in contamination(train, test)] == ["fenetre"]
