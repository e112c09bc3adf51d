"""Les commandes : ce qu’elles disent quand tout va bien, et surtout quand quelque chose manque."""

import ast
import errno
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from llmbook import exercise_progress
from tools import bench, build, chromium, clean, environment, interpreter, messages, serve, tests
from tools.__main__ import TARGETS
from tools.messages import Panne

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = "http://127.0.0.1:9/simple"  # le port « discard » : personne n’y répond


def run_tools(*arguments, root=ROOT, **env):
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        cwd=root,
        env=os.environ | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


# --- les cibles ---------------------------------------------------------------------------------


def test_targets_are_listed_in_french():
    listing = run_tools()
    assert listing.returncode == 0 and not listing.stderr
    for name, (_, _, what) in TARGETS.items():
        assert re.search(rf"^  {name}\s+{re.escape(what)}$", listing.stdout, re.MULTILINE)
    assert "Windows" in listing.stdout and "PORT=" in listing.stdout and "SERVE=0" in listing.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="make n’est pas installé")
def test_make_alone_lists_the_targets():
    above = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # ce test tourne lui-même sous make
    env = {name: value for name, value in os.environ.items() if name not in above}
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    assert listing.stdout == run_tools().stdout


def test_the_makefile_is_thin():
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    recipes = [line for line in lines if line.startswith("\t")]
    assert recipes == ["\t@$(PYTHON) -m tools", "\t@$(PYTHON) -m tools $@ $(OPTIONS)"]
    declared = next(line for line in lines if line.startswith("CIBLES :=")).split()[2:]
    assert declared == list(TARGETS)


def test_an_unknown_target_names_the_others():
    failed = run_tools("truc")
    assert failed.returncode == 2
    assert "« truc » n’existe pas" in failed.stderr and "livre" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("name", ["__init__", "__main__", "interpreter", "messages"])
def test_files_read_before_the_venv_speak_old_python(name):
    """Un Python 3.7 doit pouvoir les lire, ne serait-ce que pour dire qu’il est trop vieux."""
    source = (ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    imported = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    outside = {m for m in imported if m.split(".")[0] not in sys.stdlib_module_names | {"tools"}}
    assert not outside


@pytest.mark.parametrize("name", ["environment", "serve"])
def test_the_way_to_the_venv_needs_the_standard_library_only(name):
    tree = ast.parse((ROOT / "tools" / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module]
        for module in modules:
            assert module.split(".")[0] in sys.stdlib_module_names | {"tools"}, module


# --- les pannes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disque est plein", "reprend"),
        (PermissionError(errno.EACCES, "denied", "/x"), "refusée (/x)", "vous appartient"),
        (FileNotFoundError(errno.ENOENT, "no", "/x"), "Introuvable (/x)", "git status"),
        (KeyboardInterrupt(), "Interrompu", "reprendre"),
    ],
)
def test_system_errors_become_a_sentence_and_a_remedy(error, sentence, remedy):
    panne = messages.translate(error)
    assert sentence in panne.sentence and remedy in panne.remedy and panne.code


def test_guard_never_lets_a_traceback_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "keep_traceback", lambda: tmp_path / "erreur.txt")

    def broken():
        raise RuntimeError("inattendu")

    assert messages.guard(broken) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Arrêt : ") and "erreur.txt" in shown and "Traceback" not in shown


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disque est plein"),
        ("NewConnectionError: Failed to establish a new connection", "ne répond pas"),
        ("Temporary failure in name resolution\nNo matching distribution found for x", "ne répond"),
        ("ERROR: No matching distribution found for torch==9", "torch==9 n’existe pas"),
        ("ERROR: ResolutionImpossible: for help visit", "se contredisent"),
        ("ERROR: autre chose", "autre chose"),
    ],
)
def test_what_pip_says_becomes_a_sentence(output, sentence):
    panne = environment.pip_failure(output)
    assert sentence in panne.sentence and panne.remedy


def test_durations_are_french():
    assert [messages.duration(s) for s in (0.44, 12.3, 65)] == ["0,4 s", "12 s", "1 min 05 s"]


# --- le Python ----------------------------------------------------------------------------------


def test_an_old_python_is_refused_with_a_remedy(monkeypatch):
    monkeypatch.setattr(interpreter.sys, "version_info", (3, 9, 18, "final", 0))
    monkeypatch.setattr(interpreter, "candidates", lambda: iter(()))
    monkeypatch.delenv("LLMBOOK_PYTHON", raising=False)
    with pytest.raises(Panne, match="3.9 ne convient pas") as caught:
        interpreter.find_python()
    assert "LLMBOOK_PYTHON" in caught.value.remedy


def test_a_forced_python_must_be_suitable(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMBOOK_PYTHON", str(tmp_path / "absent"))
    with pytest.raises(Panne, match="introuvable"):
        interpreter.find_python()
    monkeypatch.setenv("LLMBOOK_PYTHON", sys.executable)
    assert interpreter.find_python() == [sys.executable]


@pytest.mark.parametrize(
    ("version", "good"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)]
)
def test_the_range_of_pythons(version, good):
    assert interpreter.suitable(version) is good


# --- le serveur ---------------------------------------------------------------------------------


@pytest.fixture
def taken_port():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_an_occupied_port_is_said_at_once_with_a_free_one(taken_port):
    failed = run_tools("livre", PORT=str(taken_port), SERVE="1")
    assert failed.returncode == 1
    assert f"Le port {taken_port} est occupé" in failed.stderr
    assert re.search(r"make livre PORT=\d+", failed.stderr)
    assert "Traceback" not in failed.stderr and "Construction" not in failed.stdout


@pytest.mark.parametrize("port", ["abc", "0", "70000"])
def test_a_port_that_is_none(port, monkeypatch):
    monkeypatch.setenv("PORT", port)
    with pytest.raises(Panne, match="n’en est pas un"):
        serve.read_options([])


@pytest.mark.parametrize(
    ("value", "only_build"), [("0", True), ("non", True), ("1", False), ("", False)]
)
def test_serve_zero_builds_only(value, only_build, monkeypatch):
    monkeypatch.setenv("SERVE", value)
    monkeypatch.delenv("PORT", raising=False)
    chosen = serve.read_options([])
    assert chosen.sans_servir is only_build and chosen.port == 8000


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("<p>Bonjour é</p>", encoding="utf-8")
    (tmp_path / "module.js").write_text("export default 1;", encoding="utf-8")
    (tmp_path / "dossier").mkdir()
    progress = tmp_path / "progression"
    monkeypatch.setenv("LLMBOOK_PROGRESS", str(progress))
    server = serve.open_server(0, tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", progress
    server.shutdown()
    server.server_close()


def test_the_server_listens_on_this_machine_only(site):
    address, _ = site
    assert address.startswith("http://127.0.0.1:") and serve.HOST == "127.0.0.1"
    with urllib.request.urlopen(address + "/") as page:
        assert page.read().decode() == "<p>Bonjour é</p>"
    with urllib.request.urlopen(address + "/module.js") as page:
        assert page.headers["Content-Type"] == "text/javascript"


def test_the_server_gives_the_progress(site):
    address, progress = site
    with urllib.request.urlopen(address + "/progression.json") as answer:
        assert json.load(answer) == {"exercises": {}}
    exercise_progress.record("ex-svd-rang", passed=True)
    assert progress.exists()
    with urllib.request.urlopen(address + "/progression.json") as answer:
        assert json.load(answer)["exercises"]["ex-svd-rang"]["passed"] is True


@pytest.mark.parametrize("path", ["/absente.html", "/dossier/", "/../../etc/passwd"])
def test_what_is_not_a_page_is_refused_in_french(site, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(site[0] + path)
    assert caught.value.code == 404
    assert "Page introuvable" in caught.value.read().decode()


# --- l’environnement ----------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path):
    """Un dépôt réduit à ses outils, avec des extras vides, pour des installations brèves."""
    root = tmp_path / "dépôt"
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("node_modules"))
    (root / "llmbook").mkdir()
    (root / "llmbook" / "__init__.py").write_text('"""x"""\n', encoding="utf-8")
    version = importlib.metadata.version("setuptools")
    (root / "constraints.txt").write_text(f"setuptools=={version}\n", encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=70"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "llmbook"\nversion = "0"\ndependencies = []\n'
        "[project.optional-dependencies]\nbook = []\nnotebooks = []\n"
        '[tool.setuptools]\npackages = ["llmbook"]\n',
        encoding="utf-8",
    )
    return root


def ensure(root, **env):
    code = (
        "import sys; from tools import environment, messages;"
        "messages.prepare_streams();"
        "sys.exit(messages.guard(lambda: environment.ensure(['book'], [sys.executable])))"
    )
    env = {"PYTHONPATH": str(root), "PIP_RETRIES": "1"} | env
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


OFFLINE = {
    "PIP_INDEX_URL": NOWHERE,
    "PIP_EXTRA_INDEX_URL": NOWHERE,
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_CONFIG_FILE": os.devnull,
}


@pytest.mark.lent
def test_no_network_is_a_sentence_then_the_same_command_completes(copy):
    first = ensure(copy, **OFFLINE)
    assert first.returncode == 1
    assert "ne répond pas" in first.stderr and "reprend" in first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    assert (copy / ".venv" / "llmbook-en-cours").exists()
    assert json.loads((copy / ".venv" / "llmbook-sceaux.json").read_text()) == {}

    second = ensure(copy)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "a été coupée" in second.stdout
    assert not (copy / ".venv" / "llmbook-en-cours").exists()

    third = ensure(copy, **OFFLINE)  # complet : ni réseau, ni message
    assert (third.returncode, third.stdout) == (0, "")


@pytest.mark.lent
def test_a_half_copied_package_is_repaired(copy):
    assert ensure(copy).returncode == 0
    venv = copy / ".venv"
    package = next(venv.glob("[lL]ib/**/site-packages/setuptools/__init__.py"))
    package.unlink()
    (venv / "llmbook-en-cours").write_text("book", encoding="utf-8")
    repaired = ensure(copy)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "setuptools==" in repaired.stdout and package.exists()


@pytest.mark.lent
def test_a_venv_without_pip_is_made_again(copy):
    broken = copy / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(broken)], check=True)
    done = ensure(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Création de .venv" in done.stdout


def test_a_small_disk_is_said_before_installing(monkeypatch):
    monkeypatch.setattr(
        environment.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1)
    )
    with pytest.raises(Panne, match="reste 0 Mo"):
        environment.check_space(["book"])


def test_requirements_expand_inner_extras():
    rag = environment.requirements(["rag"])
    assert any(line.startswith("torch") for line in rag)
    assert not any(line.startswith("llmbook") for line in rag)


def test_the_fingerprint_follows_the_constraints(copy, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", copy)
    monkeypatch.setattr(environment, "VENV", copy / ".venv")
    before = environment.fingerprint("book")
    assert environment.fingerprint("book") == before
    (copy / "constraints.txt").write_text("setuptools==1\n", encoding="utf-8")
    assert environment.fingerprint("book") != before


# --- construire et tester -----------------------------------------------------------------------


def test_a_failed_build_lists_the_warnings_and_forgets(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "BUILD", tmp_path)
    monkeypatch.setattr(build, "HTML", tmp_path / "html")
    monkeypatch.setattr(build, "LOG", ROOT / "_build" / "journal.txt")
    monkeypatch.setattr(build, "SEAL", tmp_path / "sceau.txt")
    (tmp_path / "sceau.txt").write_text(build.shared_fingerprint())
    lines = [f"{ROOT / 'book' / 'x.md'}:3: WARNING: défaut", "TypeError: bruit de jupyter-book"]
    monkeypatch.setattr(build, "run_sphinx", lambda: (1, lines))
    with pytest.raises(Panne, match="1 défaut :"):
        build.build()
    shown = capsys.readouterr().out
    assert f"  {Path('book/x.md')}:3: WARNING: défaut" in shown and "TypeError" not in shown
    assert not (tmp_path / "sceau.txt").exists()  # la prochaine construction relira tout


def test_a_full_disk_while_building(monkeypatch):
    with pytest.raises(Panne, match="disque est plein"):
        build.explain_failure(["OSError: [Errno 28] No space left on device"])


def test_one_pytest_call_covers_tests_and_notebooks():
    whole = tests.pytest_command({"gpu"}, quick=False, options=["-x"])
    assert whole.count("pytest") == 1 and whole[-1] == "-x"
    assert whole[whole.index("-n") + 1] == "2" and "loadscope" in whole
    if any((ROOT / "notebooks").rglob("*.ipynb")):
        assert "notebooks" in whole and "--nbval" in whole
    quick = tests.pytest_command(set(tests.SLOW), quick=True, options=[])
    assert "--nbval" not in quick and "not gpu and not lent" in quick[quick.index("-m", 3) + 1]


def test_a_missing_browser_is_said_and_fails_in_ci(monkeypatch, capsys):
    monkeypatch.setattr(chromium, "find", lambda: None)
    monkeypatch.setattr(chromium, "apt_install", lambda _: False)
    monkeypatch.delenv("LLMBOOK_CHROMIUM", raising=False)
    monkeypatch.setenv("CI", "")
    assert chromium.obtain() is None
    assert "laissés de côté" in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Panne, match="en CI"):
        chromium.obtain()


def test_missing_npm_fails_in_ci_only(monkeypatch, capsys, tmp_path):
    (tmp_path / "package-lock.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(tests, "NPM", tmp_path)
    monkeypatch.setattr(tests.shutil, "which", lambda _: None)
    monkeypatch.setenv("CI", "")
    tests.npm_packages()
    assert "axe-core manque" in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Panne, match="axe-core"):
        tests.npm_packages()


def test_a_missing_sandbox_is_installed_said_and_fails_in_ci(monkeypatch, capsys):
    asked, found = [], ["bwrap manque", "bwrap manque"]
    monkeypatch.setattr(tests.sandbox, "available", lambda: found.pop(0))
    monkeypatch.setattr(tests.shutil, "which", lambda _: None)
    monkeypatch.setattr(tests.sys, "platform", "linux")
    monkeypatch.setattr(chromium, "apt_install", lambda names: asked.append(names) or True)
    monkeypatch.setenv("CI", "")
    tests.sandbox_tools()  # apt n’y a rien changé
    assert asked == [["bubblewrap"]]
    said = capsys.readouterr().out
    assert "bwrap manque" in said and "laissés de côté" in said
    found += ["bwrap manque", "bwrap manque"]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Panne, match="en CI"):
        tests.sandbox_tools()
    found += ["bwrap manque", None]
    tests.sandbox_tools()
    assert len(asked) == 3 and not found


def test_cleaning_keeps_what_is_written_by_hand(tmp_path, monkeypatch):
    for name in ("_build", ".venv", "book", "llmbook/__pycache__", ".venv/x/__pycache__"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in clean.generated()}
    assert found == {"_build", "llmbook/__pycache__"}
    assert tmp_path / ".venv" in set(clean.generated(everything=True))


# --- les bancs d’essai --------------------------------------------------------------------------


def test_a_bench_checks_before_it_times():
    entry = bench.Bench("faux", "a", "b", lambda: bench.Contest(lambda: 1, lambda: 2, int.__eq__))
    with pytest.raises(Panne, match="diffèrent"):
        bench.run(entry, rounds=1)


def test_a_bench_table_replaces_the_old_one():
    entry = bench.Bench("t", "lent", "rapide", lambda: None)
    line = bench.row(bench.Result(entry, [0.2, 0.4, 0.3], [0.1, 0.1, 0.1]), 2)
    table = bench.render([line], 3)
    assert "| t | 2 | lent : 300 ms (200 à 400) | rapide : 100 ms (100 à 100) | 3,00 × |" in table
    page = f"avant\n{bench.START}\nvieux\n{bench.END}\naprès\n"
    assert bench.insert(table, page) == f"avant\n{bench.START}\n{table}\n{bench.END}\naprès\n"
    with pytest.raises(Panne, match="repères"):
        bench.insert(table, "rien")


def test_measures_has_its_markers():
    text = (ROOT / "MESURES.md").read_text(encoding="utf-8")
    assert text.index(bench.START) < text.index(bench.END)
