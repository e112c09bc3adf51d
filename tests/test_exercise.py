"""Le vérificateur d’exercices : ce qu’il dit d’une réponse juste, vide, fausse ou folle."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from llmbook import exercise as exercises
from llmbook import exercise_progress as store
from llmbook.exercise import Exercise, UnknownExercise, check, hint, metadata, solution, sources
from llmbook.exercise_judge import judge
from llmbook.exercise_run import run

ROOT = Path(__file__).resolve().parents[1]

mean = Exercise(
    "ex-essai-moyenne",
    title="Moyenne des colonnes",
    level="facile",
    minutes=5,
    hints=("Il y a une somme.", "Et une division.", "np.mean sait choisir son axe."),
    timeout_s=0.4,
)


@mean.reference
def column_mean(X):
    """La moyenne de chaque colonne."""
    return X.mean(axis=0)


@mean.cases
def _(rng):
    for rows in (3, 4, 7):
        yield (rng.normal(size=(rows, 3)),)


@mean.trap("L’axe 1 parcourt les colonnes d’une ligne : vous moyennez les lignes.")
def _(X):
    return X.mean(axis=1)


@mean.trap("Vous avez mis la médiane.")
def _(X):
    return np.median(X, axis=0)


@mean.variant
def _(X):
    return np.ones(len(X)) @ X / len(X)


entropy = Exercise("ex-essai-entropie", title="Entropie d’un dé", level="moyen", minutes=3,
                   hints=("ln 6",), kind="value")  # fmt: skip


@entropy.reference
def _():
    return float(np.log(6))


@entropy.trap("C’est l’entropie en bits : prenez le logarithme naturel.")
def _():
    return float(np.log2(6))


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch):
    file = tmp_path / "progression.json"
    monkeypatch.setenv("LLMBOOK_PROGRESS", str(file))
    monkeypatch.setattr(store, "_MEMORY", {})
    return file


@pytest.fixture
def report(capsys):
    def of(answer, label="ex-essai-moyenne"):
        assert check(label, answer) is None
        return capsys.readouterr().out

    return of


# --- Juste, vide, piégée


def test_right_answer(report, progress_file):
    assert report(lambda X: sum(X) / len(X)) == (
        "réussi · ex-essai-moyenne : Moyenne des colonnes (3 cas justes sur 3)\n"
    )
    assert json.loads(progress_file.read_text())["exercises"]["ex-essai-moyenne"]["passed"]


def empty_dots(X):
    """À vous."""
    ...


def empty_pass(X):
    pass


def empty_return(X):
    return None


def empty_raise(X):
    raise NotImplementedError("à vous")


def started(X):
    total = X.sum(axis=0)
    ...
    return total / count  # noqa: F821


def hole(X):
    total = ...
    return total / len(X)


@pytest.mark.parametrize(
    "answer", [None, ..., empty_dots, empty_pass, empty_return, empty_raise, started, hole]
)
def test_unfilled_answer_is_left_alone(report, progress_file, answer):
    assert report(answer) == (
        "à compléter · ex-essai-moyenne : Moyenne des colonnes (facile, 5 min)\n"
    )
    assert not progress_file.exists()


@pytest.mark.parametrize("body", ["...", "pass", "return", "'doc'", "raise NotImplementedError",
                                  "raise NotImplementedError('à vous')"])  # fmt: skip
def test_unfilled_answer_without_source(report, body):
    space = {}
    exec(f"def f(X):\n    {body}", space)
    assert report(space["f"]).startswith("à compléter")


def test_filled_answer_without_source_is_judged(report):
    space = {}
    exec("def f(X): return X\ndef g(X): return X.mean(0)", space)
    assert report(space["f"]).startswith("à revoir")
    assert report(space["g"]).startswith("réussi")


def test_trap_message_first_failing_case_and_stable_output(report):
    def answer(X):
        return np.stack([row.sum() / 3 for row in X])

    text = report(answer)
    assert "L’axe 1 parcourt les colonnes d’une ligne" in text
    assert "Premier cas en échec, le 1 sur 3" in text
    assert "X       : tableau numpy (3, 3) float64" in text
    assert "attendu : tableau numpy (3,) float64" in text
    assert 'hint("ex-essai-moyenne")' in text
    assert report(answer) == text


def test_value_exercise(report):
    assert report(np.log(6), "ex-essai-entropie") == (
        "réussi · ex-essai-entropie : Entropie d’un dé\n"
    )
    assert "logarithme naturel" in report(np.log2(6), "ex-essai-entropie")
    assert "à compléter" in report(..., "ex-essai-entropie")
    assert "attend une valeur" in report(lambda: 3, "ex-essai-entropie")


# --- Les diagnostics généraux


def in_place(X):
    X /= len(X)
    return X.sum(0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda X: print(end=""), "None"),
        (lambda X: X.mean(0).tolist(), "une liste"),
        (lambda X: X.mean(0)[None], "un axe de taille 1"),
        (lambda X: X.mean(), "réduit un axe de trop"),
        (lambda X: X[None], "un axe n’a pas été réduit"),
        (lambda X: X, "diffusion (broadcasting)"),
        (lambda X: -X.mean(0), "le signe est inversé"),
        (lambda X: 2 * X.mean(0), "multipliées par 2"),
        (lambda X: 1.7 * X.mean(0), "multipliées par 1.7"),
        (lambda X: X.sum(0), "facteur n : une somme à la place d’une moyenne"),
        (lambda X: X.sum(0) / (len(X) - 1), "n/(n - 1)"),
        (lambda X: X.mean(0) + 0.5, "décalées de la même constante : +0.5"),
        (lambda X: X.mean(0).astype(int), "décimales ont été coupées"),
        (lambda X: X.mean(0)[::-1], "l’ordre inverse"),
        (lambda X: np.roll(X.mean(0), 1), "dans un autre ordre"),
        (lambda X: X.mean(0) ** 2, "les carrés"),
        (lambda X: np.exp(X.mean(0)), "les exponentielles"),
        (lambda X: X.mean(0) / 0, "inf"),
        (lambda X: X.mean(0) * np.nan, "nan"),
        (lambda X: X.mean(0).round(5), "presque juste"),
        (lambda X: "rien", "texte au lieu de tableau numpy"),
        (in_place, "modifie son argument X"),
        (lambda: 0, "1 argument : (X)"),
        (lambda X, y: 0, "Votre fonction attend (X, y)"),
        (np.zeros(3), "la fonction elle-même, sans parenthèses"),
    ],
)
def test_diagnosis(report, answer, said):
    text = report(answer)
    assert text.startswith("à revoir")
    assert said.lower() in text.lower()


def test_mutating_answer_does_not_spoil_later_cases(report):
    def answer(X):
        result = X.mean(0)
        X[:] = np.nan
        return result

    assert "(0 cas juste sur 3)" in report(answer)  # juste, mais l’argument est abîmé
    assert report(column_mean).startswith("réussi")


def test_float32_and_torch_are_accepted(report):
    torch = pytest.importorskip("torch")
    assert report(lambda X: X.mean(0).astype(np.float32)).startswith("réussi")
    assert report(lambda X: torch.tensor(X).mean(0)).startswith("réussi")


class Empty:
    def __init__(self, p): ...

    def step(self, g):
        raise NotImplementedError


class Wrong:
    def __init__(self, p):
        self.p = p

    def step(self, g):
        self.p += g


class Right:
    def __init__(self, p):
        self.p = p.copy()

    def step(self, g):
        self.p -= g


def test_class_answer_called_its_own_way(report):
    descent = Exercise("ex-essai-classe", title="Un pas", level="facile", minutes=1, hints=("h",),
                       call=lambda make, p, g: (lambda it: (it.step(g), it.p)[1])(make(p)))  # fmt: skip
    descent.reference(Right)
    descent.cases(lambda rng: ((rng.normal(size=3), rng.normal(size=3)) for _ in range(2)))
    assert report(Empty, "ex-essai-classe").startswith("à compléter")
    assert report(Wrong, "ex-essai-classe").startswith("à revoir")
    assert report(Right, "ex-essai-classe").startswith("réussi")


def test_own_comparison_expected_exception_and_generator(report):
    lots = Exercise("ex-essai-lots", title="Lots", level="facile", minutes=1, hints=("h",))

    @lots.reference
    def batches(items, n):
        if n < 1:
            raise ValueError("n vaut au moins 1")
        for i in range(0, len(items), n):
            yield items[i : i + n]

    lots.cases(lambda rng: iter([("abcde", 2), ("abc", 0)]))
    assert report(batches, "ex-essai-lots").startswith("réussi")
    assert "ValueError est attendue" in report(
        lambda s, n: [s[i : i + n] for i in range(0, len(s), n)] if n else [], "ex-essai-lots"
    )
    signed = Exercise("ex-essai-signe", title="Signe", level="facile", minutes=1, hints=("h",),
                      compare=lambda got, expected: None if abs(got) == expected else "Pas 3.")  # fmt: skip
    signed.reference(lambda: 3)
    assert report(lambda: -3, "ex-essai-signe").startswith("réussi")
    assert "Pas 3." in report(lambda: 4, "ex-essai-signe")
    assert "ne se compare pas" in report(lambda: "trois", "ex-essai-signe")


# --- Les réponses folles


def crash(X):
    return X.mean(0) / len(Y)  # noqa: F821


def spin(X):
    while True:
        try:
            np.zeros(3)
        except Exception:
            pass


def spin_bare(X):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def sleep_bare(X):
    while True:
        try:
            time.sleep(1)
        except:  # noqa: E722
            continue


def shout(X):
    print("bla " * 1_000_000)
    return X


def leave(X):
    sys.exit("au revoir")


def recurse(X):
    return recurse(X)


def devour(X):
    return np.ones((10**7, 10**7))


def swell(X):
    hoard = [0]
    while True:
        hoard = hoard + hoard


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (crash, "exception NameError : name 'Y' is not defined"),
        (crash, ": return X.mean(0) / len(Y)"),
        (spin, "arrêt après 0.4 s"),
        (spin_bare, "while True:"),
        (sleep_bare, "arrêt après 0.4 s"),
        (shout, "plus de 2048 caractères"),
        (leave, "utilisez return"),
        (recurse, "cas d’arrêt"),
        (devour, "trop grand pour la mémoire"),
    ],
)
def test_wild_answer_is_reported(report, answer, said):
    text = report(answer)
    assert text.startswith("à revoir") and said in text
    assert len(text) < 4000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limite de mémoire sous Linux")
def test_growing_memory_is_stopped(report):
    assert "mémoire" in report(swell) or "arrêt après" in report(swell)


@pytest.mark.parametrize("name", ["spin", "spin_bare"])
def test_endless_loop_outside_the_main_thread(name):
    """Dans un autre processus : un fil que rien n’arrête ralentirait tous les essais suivants."""
    code = (
        "import os, threading\n"
        "from llmbook.exercise_run import run\n"
        f"from tests.test_exercise import {name} as answer\n"
        "found = []\n"
        "work = lambda: found.append(run(answer, (0,), timeout_s=0.2))\n"
        "thread = threading.Thread(target=work, daemon=True)\n"
        "thread.start()\n"
        "thread.join(10)\n"
        "print(found[0].timed_out, flush=True)\n"
        "os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "True", done.stderr


def test_the_reader_own_randomness_is_untouched():
    np.random.seed(3)  # noqa: NPY002
    wanted = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    run(lambda: np.random.random())  # noqa: NPY002
    assert np.random.random() == wanted  # noqa: NPY002


# --- Indices, solution, étiquettes


def test_hints_come_one_at_a_time(capsys):
    for _ in range(4):
        hint("ex-essai-moyenne")
    lines = capsys.readouterr().out.splitlines()
    ranks = [line[:15] for line in lines if line.startswith("indice")]
    assert ranks == ["indice 1 sur 3 ", "indice 2 sur 3 ", "indice 3 sur 3 ", "indice 3 sur 3 "]
    assert 'solution("ex-essai-moyenne")' in lines[3]


def test_solution_is_plain_source(capsys):
    solution("ex-essai-moyenne")
    text = capsys.readouterr().out
    assert text.startswith("def column_mean(X):") and "@" not in text
    assert text.strip() == sources("ex-essai-moyenne")
    found = metadata("ex-essai-moyenne")
    assert (found["level"], found["minutes"], found["hints"]) == ("facile", 5, 3)


def test_unknown_label_names_the_closest():
    with pytest.raises(UnknownExercise, match="ex-essai-moyenne"):
        check("ex-essai-moyene", None)


@pytest.mark.parametrize("change", [{"level": "dur"}, {"hints": "un"}, {"hints": ()},
                                    {"kind": "x"}, {"label": "exo"}])  # fmt: skip
def test_bad_description_is_refused(change):
    good = {"label": "ex-essai-x", "title": "T", "level": "facile", "minutes": 1, "hints": ("h",)}
    options = good | change
    with pytest.raises(ValueError, match=r"attendu|forme|hints"):
        Exercise(options.pop("label"), **options)


# --- La progression


def test_progress_table(report, capsys, monkeypatch):
    monkeypatch.setattr(exercises, "load_all", lambda: [mean, entropy])
    monkeypatch.setattr(Exercise, "section", lambda self: "essai")
    report(column_mean)
    report(3.0, "ex-essai-entropie")
    exercises.main([])
    text = capsys.readouterr().out
    assert text.splitlines()[2].split() == ["essai", "1", "1", "0", "3"]
    assert text.splitlines()[-1].split() == ["total", "1", "1", "0", "3"]
    assert "Aucun exercice" in exercises.progress_table("ch99")
    exercises.main(["--remise-a-zero", "--chapitre", "essai"])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "0", "0", "2", "8"]


def test_off_writes_nothing(report, progress_file, monkeypatch, tmp_path):
    monkeypatch.setenv("LLMBOOK_PROGRESS", "off")
    monkeypatch.chdir(tmp_path)
    assert report(column_mean).startswith("réussi")
    assert list(tmp_path.iterdir()) == []
    assert store.read()["ex-essai-moyenne"]["passed"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"exercises": 3}', "\x00\xff"])
def test_corrupt_file_is_set_aside(report, progress_file, content):
    progress_file.write_text(content, "latin-1")
    assert store.read() == {}
    assert report(column_mean).startswith("réussi")
    assert store.read()["ex-essai-moyenne"]["passed"]
    assert progress_file.with_name("progression.json.illisible").exists()


def test_unwritable_place_is_said_not_fatal(report, monkeypatch, tmp_path):
    (tmp_path / "fichier").touch()
    monkeypatch.setenv("LLMBOOK_PROGRESS", str(tmp_path / "fichier" / "p.json"))
    text = report(column_mean)
    assert text.startswith("réussi") and "Progression non enregistrée" in text


def test_a_success_is_not_forgotten_after_a_failure(report):
    report(column_mean)
    report(lambda X: X)
    entry = store.read()["ex-essai-moyenne"]
    assert entry["passed"] and entry["attempts"] == 2


def test_concurrent_notebooks_lose_nothing(progress_file):
    code = ("from llmbook.exercise_progress import record\n"
            "import sys\n"
            "for i in range(20): record(f'ex-essai-{sys.argv[1]}{i}', passed=True)")  # fmt: skip
    environment = {**os.environ, "LLMBOOK_PROGRESS": str(progress_file)}
    workers = [subprocess.Popen([sys.executable, "-c", code, name], env=environment)
               for name in "abc"]  # fmt: skip
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(store.read()) == 60


def test_place_without_a_repository(monkeypatch, tmp_path):
    monkeypatch.delenv("LLMBOOK_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store.path() == store.repository() / ".progression.json"
    monkeypatch.setattr(store, "repository", lambda: None)
    assert store.path().name == "progression.json"


def test_two_mistakes_are_told_one_at_a_time():
    """Le softmax global déborde aussi : le cas montré ne parle que de sa somme."""

    def whole_and_naive(scores):
        e = np.exp(scores)
        return e / e.sum()

    verdict = judge(exercises.lookup("ex-vecteurs-softmax"), whole_and_naive)
    text = "\n".join(verdict.details)
    assert "chaque ligne doit avoir sa propre somme" in text and "nan" not in text
