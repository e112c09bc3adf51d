"""Les dialogues composés : forme, typographie, et chaque réponse revérifiée.

Les familles qui se lisent dans la question sont relues partout ; le reste, seulement avec la
version de Python de l’enregistrement.
"""

import ast
import builtins
import importlib
import inspect
import json
import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from llmbook import instructions
from llmbook.instructions import fingerprint, first_code, load
from llmbook.tokenizer import Tokenizer
from tools.instructions.inspection import INTERPRETER, LIBRARY

ROOT = Path(__file__).resolve().parents[1]
COMPOSED = load("composes")
READ_IN_QUESTION = ("default", "required", "parameter", "keyword_only", "count", "call")
same_python = pytest.mark.skipif(
    platform.python_version() != COMPOSED[0]["python"] or sys.platform != "linux",
    reason="la bibliothèque standard n’est pas celle que les réponses décrivent",
)


def family(name: str) -> list[dict]:
    return [record for record in COMPOSED if record["famille"] == name]


def last(record: dict, role: str) -> str:
    return [each["content"] for each in record["messages"] if each["role"] == role][-1]


# Forme


def test_records_are_well_formed():
    for each in COMPOSED:
        roles = [message["role"] for message in each["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2), each["id"]
        assert first_code(last(each, "assistant")) == each["reponse"], each["id"]
        assert each["origine"] == "compose" and each["python"] == COMPOSED[0]["python"]
        assert each["id"].startswith(each["famille"])
    assert len({each["messages"][0]["content"].lower() for each in COMPOSED}) == len(COMPOSED)
    assert sum(len(each["messages"]) == 4 for each in COMPOSED) > 100


def test_prose_follows_the_typography():
    for each in COMPOSED:
        for message in each["messages"]:
            prose = re.sub(r"`[^`]*`|« .* »", "x", message["content"], flags=re.DOTALL)
            assert not re.search(r"['\"\u00a0\u202f]|\S[?:;]|  ", prose), message


def test_dialogues_are_short():
    tokenizer = Tokenizer.from_pretrained(ROOT / "models" / "nano")
    for each in COMPOSED[::7]:
        text = "".join(f"xx{m['role']}\n{m['content']}x\n" for m in each["messages"])
        assert len(tokenizer.encode(text)) <= 210, each["id"]


# Les réponses, relues dans la question


def parameters(record: dict) -> dict[str, inspect.Parameter]:
    """Paramètres d’une signature écrite, lus par Python lui-même."""
    text = record["signature"]
    assert text in record["messages"][0]["content"] or record["famille"] == "call"
    scope: dict = {}
    exec(f"def f{text[text.index('(') :]}: pass", scope)
    return dict(inspect.signature(scope["f"]).parameters)


def named(record: dict) -> str:
    """Le paramètre dont parle la réponse."""
    return re.findall(r"`([^`]*)`", last(record, "assistant"))[1]


def test_defaults():
    for each in family("default"):
        assert repr(parameters(each)[named(each)].default) == each["reponse"], each["id"]
        assert f"`{named(each)}`" in last(each, "user")


def test_required():
    for each in family("required"):
        needed = [name for name, p in parameters(each).items() if p.default is p.empty]
        assert (", ".join(needed) or "aucun") == each["reponse"], each["id"]


def test_parameters_by_place():
    for each in family("parameter"):
        names, answer = list(parameters(each)), last(each, "assistant")
        if "premier" in answer:
            expected = names[0]
        elif "deuxième" in answer:
            expected = names[1]
        elif "dernier" in answer:
            expected = names[-1]
        else:
            expected = names[names.index(named(each)) + 1]
        assert each["reponse"] == expected, each["id"]


def test_keyword_only():
    for each in family("keyword_only"):
        parameter = parameters(each)[named(each)]
        only = parameter.kind is parameter.KEYWORD_ONLY
        assert each["reponse"] == ("oui" if only else "non"), each["id"]
    answers = Counter(each["reponse"] for each in family("keyword_only"))
    assert min(answers.values()) > 0.35 * answers.total()


def test_counts():
    for each in family("count"):
        names = list(parameters(each))
        assert each["reponse"] == str(len(names)), each["id"]
        assert re.findall(r"`([^`]*)`", last(each, "assistant"))[1:] == names


def test_calls_fit_the_signature():
    for each in family("call"):
        tree = ast.parse(each["reponse"], mode="eval").body
        keywords = {k.arg: ast.unparse(k.value) for k in tree.keywords}
        arguments = [ast.unparse(argument) for argument in tree.args]
        inspect.Signature(parameters(each).values()).bind(*arguments, **keywords)
        question = last(each, "user")
        assert all(value in question for value in (*arguments, *keywords.values())), each["id"]


def test_expressions():
    for each in family("doctest"):
        if "import" not in each:
            assert repr(eval(each["expression"])) == each["reponse"], each["id"]


def test_docstring_answers_can_be_read():
    for each in family("docline"):
        assert each["reponse"] in each["candidats"] and len(each["candidats"]) == 3
        assert all(f"`{name}`" in last(each, "user") for name in each["candidats"])
        shorts = {name.rpartition(".")[2] for name in each["candidats"]}
        assert len(shorts) == 3, each["id"]
    for each in family("summary"):
        text = quoted(each).lower()
        assert all(part.lower() in text for part in each["reponse"].split("_")), each["id"]
    for each in family("extract"):
        assert each["reponse"] in quoted(each) and len(quoted(each).split()) <= 60, each["id"]


def quoted(record: dict) -> str:
    return re.search(r"« (.*) »", last(record, "user"))[1]


# Les réponses, revérifiées sur la bibliothèque standard de l’enregistrement


def resolve(name: str) -> object:
    """L’objet d’un nom qualifié : un attribut, sinon un sous-module à importer."""
    first, *rest = name.split(".")
    value = getattr(builtins, first, None) or importlib.import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)
    return value


@same_python
def test_signatures_are_those_of_the_library():
    for each in (r for name in READ_IN_QUESTION for r in family(name)):
        found = parameters(each)
        value = resolve(each["cle"])
        if str(getattr(value, "__module__", "")).startswith("_pytest"):
            continue  # pdb.set_trace, que pytest remplace
        live = inspect.signature(value).parameters
        assert set(found) <= set(live) and len(live) - len(found) in (0, 1), each["id"]
        for name, parameter in found.items():
            default = live[name].default
            default = INTERPRETER if default == sys.executable else default
            assert (parameter.default, parameter.kind) == (default, live[name].kind), each["id"]


def test_no_path_of_the_machine():
    """Ni le dossier du dépôt, ni celui de l’environnement, ni celui de la bibliothèque."""
    here = {str(ROOT), sys.prefix, sys.base_prefix, str(LIBRARY)} - {"/usr"}
    for each in COMPOSED:
        assert not any(path in str(each) for path in here), each["id"]


@same_python
def test_imports_and_modules():
    for each in family("import"):
        scope: dict = {}
        exec(each["reponse"], scope)
        bound = each["reponse"].rpartition(" ")[2].partition(".")[0]
        if each["reponse"].startswith("from"):
            assert scope[bound] is resolve(each["cle"]), each["id"]
        assert bound in scope, each["id"]
    for each in family("module"):
        module = importlib.import_module(each["reponse"])
        assert getattr(module, each["cle"].rpartition(".")[2]) is resolve(each["cle"])


@same_python
def test_docstrings_are_those_of_the_library():
    replaced = 0  # une bibliothèque qu’un autre test a chargée met les siennes à la place
    for each in (r for name in ("docline", "summary", "extract") for r in family(name)):
        if (found := resolve(each["cle"]).__doc__) is None:
            replaced += 1
            continue
        doc = " ".join(inspect.cleandoc(found).split())
        assert doc.startswith(quoted(each).removesuffix(".")), each["id"]
        if each["famille"] != "extract":
            assert each["cle"].endswith(each["reponse"]), each["id"]
    assert replaced <= 5


@same_python
def test_library_doctests():
    found = [each for each in family("doctest") if "import" in each]
    assert len(found) > 20
    for each in found:
        scope: dict = {}
        exec(each["import"], scope)
        assert repr(eval(each["expression"], scope)) == each["reponse"], each["id"]


@same_python
def test_held_records_come_from_files_nano_never_read():
    corpus = json.loads((ROOT / "models" / "nano" / "entrainement.json").read_text("utf-8"))
    held = set(corpus["corpus"]["retenus"]["stdlib"])
    for each in COMPOSED:
        if each["famille"] != "doctest" and not each["formulation"].startswith("import_module"):
            value = resolve(each["cle"])
            file = inspect.getsourcefile(inspect.unwrap(value)) if has_source(value) else ""
            relative = file.partition("/python3.")[2].partition("/")[2]
            if relative == "collections/abc.py":  # ne fait que réexporter _collections_abc.py
                relative = "_collections_abc.py"
            assert each["retenu"] == (relative in held), each["id"]


def has_source(value: object) -> bool:
    try:
        return bool(inspect.getsourcefile(inspect.unwrap(value)))
    except TypeError:
        return False


@same_python
@pytest.mark.lent
def test_composing_again_gives_the_same_bytes(tmp_path):
    code = (
        "import sys; from tools.instructions import compose, files; "
        "files.write_records(compose.compose(), 'composes', sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
    name = "composes.jsonl.xz"
    # des empreintes, pas les octets : pytest mettrait des heures à en écrire la différence
    assert fingerprint(tmp_path / name) == fingerprint(instructions.FOLDER / name)
