"""Les dialogues écrits à la main : format, français, et tout le code de l’assistant exécuté."""

import io
import json
import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

import pytest

from tests.execution_dialogues import BLOCK

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "llmbook" / "data" / "instructions" / "dialogues").glob("*.jsonl"))
FIELDS = {"id", "famille", "cle", "origine", "messages", "reponse", "retenu"}
MAX_WORDS = 200
FILE_TIMEOUT_S = 120
MAX_REPEATS = 3

per_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def answers(row: dict) -> list[str]:
    return [m["content"] for m in row["messages"] if m["role"] == "assistant"]


def prose(text: str) -> str:
    """Le texte sans ses blocs ni ses passages entre accents graves."""
    return re.sub(r"`[^`\n]+`", "X", BLOCK.sub("", text))


def mistakes(text: str) -> list[str]:
    """Ce qu’un correcteur entourerait dans `text`."""
    words = prose(text)
    rules = {
        "apostrophe droite": r"'",
        "guillemet droit": r'"',
        "tiret long": r"[—–]",
        "pas d’espace avant un signe double": r"[^\s!?…][;!?](?=\s|$)|[^\s]:(?=\s|$)",
        "pas d’espace dans « »": r"«\S|\S»",
        "points de suspension en trois points": r"\.\.\.",
        "o et e séparés": r"(?i)\b(oeuvre|coeur|noeud|boeuf|soeur)s?\b",
        "espace double": r"\S  +\S",
    }
    found = [f"{name} : {m[0]!r}" for name, rule in rules.items() for m in re.finditer(rule, words)]
    if text.count("```") != 2 * len(BLOCK.findall(text)):
        found.append("bloc de code mal fermé")
    return found


def user_mistakes(text: str) -> list[str]:
    """Plus indulgent : un développeur colle du code et des erreurs sans les baliser."""
    rules = {"apostrophe droite": r"(?i)\b(?:[cdjlmnst]|qu)'[a-zà-ÿ]\w+", "tiret long": r"[—–]"}
    words = prose(text)
    return [f"{name} : {m[0]!r}" for name, rule in rules.items() for m in re.finditer(rule, words)]


def comments(code: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def test_there_are_dialogues():
    assert FILES


@per_file
def test_format(path):
    for row in rows(path):
        assert set(row) == FIELDS, row["id"]
        assert row["origine"] == "ecrit" and row["famille"] == path.stem, row["id"]
        assert row["retenu"] in (True, False) and row["cle"], row["id"]
        assert row["reponse"] is None or row["reponse"], row["id"]
        roles = [m["role"] for m in row["messages"]]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles and roles == ["user", "assistant"] * (len(roles) // 2), row["id"]
        for message in row["messages"]:
            assert set(message) == {"role", "content"}, row["id"]
            content = message["content"]
            assert content == content.strip() and content and "<|" not in content, row["id"]


def test_ids_and_keys_are_unique():
    everything = [row for path in FILES for row in rows(path)]
    for field in ("id", "cle"):
        counts = Counter(row[field] for row in everything)
        assert not [value for value, count in counts.items() if count > 1]
    questions = Counter(row["messages"][0]["content"] for row in everything)
    assert not [question for question, count in questions.items() if count > 1]


@per_file
def test_canonical_answer_is_the_first_code_passage(path):
    for row in rows(path):
        if row["reponse"] is not None:
            assert answers(row)[-1].split("`")[1] == row["reponse"], row["id"]


@per_file
def test_answers_are_short_and_polite(path):
    for row in rows(path):
        for answer in answers(row):
            assert len(answer.split()) <= MAX_WORDS, row["id"]
            assert not re.search(r"(?i)bien sûr\s*!|\b(tu|toi|tes)\b", prose(answer)), row["id"]


@per_file
def test_typography(path):
    found = []
    for row in rows(path):
        for message in row["messages"]:
            check = mistakes if message["role"] == "assistant" else user_mistakes
            found += [f"{row['id']} : {mistake}" for mistake in check(message["content"])]
        for answer in answers(row):
            for language, code in BLOCK.findall(answer):
                for comment in comments(code) if language == "python" else []:
                    if re.search(r"\w'\w|[—–]", comment):
                        found.append(f"{row['id']} : {comment}")
    assert not found, "\n".join(found)


def test_no_sentence_is_a_habit():
    counts = Counter()
    for path in FILES:
        for row in rows(path):
            for answer in answers(row):
                text = prose(answer).replace("X", " ")
                sentences = re.split(r"(?<=[.!?:])\s+", text)
                counts.update(
                    {" ".join(s.split()).lower() for s in sentences if len(s.split()) > 3}
                )
    assert not {s: n for s, n in counts.items() if n > MAX_REPEATS}


@per_file
def test_code_runs(path):
    command = [sys.executable, ROOT / "tests" / "execution_dialogues.py", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FILE_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found, "\n".join(found)


def test_the_typography_check_sees_mistakes():
    assert len(mistakes('C\'est "fini": non')) >= 3
    assert len(user_mistakes("qu'est-ce que c'est — ?")) == 3
    assert not user_mistakes("TypeError: can't multiply sequence by non-int of type 'float'")
    assert not mistakes(
        "Oui, c’est « prêt » : `d['a']` vaut 1 ; et ensuite ?\n```python\nx = 'a'\n```"
    )


def test_the_execution_sees_mistakes(tmp_path):
    blocks = [
        "```python\n1 / 0\n```",
        "```python\nwhile True:\n    pass\n```",
        "```pycon\n>>> 1 + 1\n3\n```",
        f"```python\nopen({str(tmp_path / 'x')!r}, 'w')\n```",
        "```python\nimport socket\nsocket.create_connection(('example.org', 80))\n```",
        "```python\nopen('x', 'w').close()\n```",
    ]
    path = tmp_path / "essai.jsonl"
    lines = [
        {"id": str(i), "cle": str(i), "messages": [{"role": "assistant", "content": block}]}
        for i, block in enumerate(blocks)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    command = [sys.executable, ROOT / "tests" / "execution_dialogues.py", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FILE_TIMEOUT_S)
    assert [text[0] for text in json.loads(done.stdout)] == ["0", "1", "2", "3", "4"], done.stderr
    assert not (tmp_path / "x").exists()
