"""Le modèle écrit dans le livre construit : éclats, empreintes, et ce qui se passe sans npm."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from tests.test_directives import CONF, build
from tools import build as book_build
from tools import node, web_model
from tools.sphinx_ext import web_model as extension

ROOT = Path(__file__).resolve().parents[1]
NANO = ROOT / "models" / "nano"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    assert web_model.write_model(NANO, folder)
    return folder


def test_the_shards_are_the_weights(written):
    manifest = json.loads((written / "manifeste.json").read_text(encoding="utf-8"))
    shards = b"".join((written / name).read_bytes() for name in manifest["eclats"])
    raw = (NANO / "model.safetensors").read_bytes()
    assert raw.endswith(shards) and len(shards) == 2 * manifest["nombre"]
    for name, entry in manifest["fichiers"].items():
        content = (written / name).read_bytes()
        assert len(content) == entry["octets"] <= web_model.SHARD_BYTES
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert {path.name for path in written.iterdir()} == {*manifest["fichiers"], "manifeste.json"}


def test_nothing_is_written_twice(written, tmp_path):
    folder = tmp_path / "nano"
    shutil.copytree(written, folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    time.sleep(0.01)
    assert not web_model.write_model(NANO, folder)
    assert times == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "poids-02.bin").write_bytes(b"?")  # abîmé : refait ; de trop : retiré
    (folder / "poids-99.bin").write_bytes(b"?")
    assert web_model.write_model(NANO, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in written.iterdir()
    }


def test_what_the_browser_cannot_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        web_model.write_model(tmp_path, tmp_path / "sortie")
    with pytest.raises(ValueError, match="I8.*save_pretrained"):
        web_model.write_model(ROOT / "models" / "petit", tmp_path / "sortie")
    assert not (tmp_path / "sortie").exists()


def packages(folder):
    """Un dossier npm où onnxruntime-web est installé, fait de petits fichiers."""
    home = folder / "node_modules" / "onnxruntime-web"
    (home / "dist").mkdir(parents=True)
    for name in web_model.ENGINE:
        (home / "dist" / name).write_text(name, encoding="utf-8")
    (home / "package.json").write_text('{"version": "1.2.3"}', encoding="utf-8")
    return folder


def test_only_three_files_of_the_engine(tmp_path):
    source = packages(tmp_path / "npm")
    (source / "node_modules/onnxruntime-web/dist/ort.webgpu.mjs").write_text("x")
    assert web_model.write_engine(tmp_path / "cible", source) is None
    names = {path.name for path in (tmp_path / "cible").iterdir()}
    assert names == {*web_model.ENGINE, "manifeste.json"}
    assert json.loads((tmp_path / "cible/manifeste.json").read_text())["version"] == "1.2.3"


def test_without_npm_the_reason_is_given(tmp_path, monkeypatch):
    (tmp_path / "package-lock.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(node.shutil, "which", lambda _: None)
    assert web_model.write_engine(tmp_path / "cible", tmp_path) == "npm n’est pas installé"
    assert not (tmp_path / "cible").exists()


def test_an_unreachable_registry_is_said(tmp_path, monkeypatch):
    (tmp_path / "package-lock.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(node.shutil, "which", lambda _: "false")
    assert node.install(tmp_path) == "le registre npm ne répond pas ou refuse"


def test_the_book_builds_without_the_engine(tmp_path, monkeypatch):
    """Une ligne claire, pas un avertissement : la construction ne doit pas échouer."""
    monkeypatch.setattr(web_model, "write_engine", lambda target: "npm n’est pas installé")
    (tmp_path / "models" / "nano").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(NANO / name, tmp_path / "models" / "nano")
    (tmp_path / "book" / "_explorables" / "modele").mkdir(parents=True)
    (tmp_path / "book" / "_explorables" / "modele" / "a.js").write_text("export {}")
    conf = {"extensions": [*CONF["extensions"], "tools.sphinx_ext.web_model"]}
    book = build(tmp_path, {"page": "# Page\n"}, conf=conf)
    assert book.log == ""
    static = book.output / "_static"
    assert (static / "modele" / "nano" / "graphe.onnx").is_file()
    assert (static / "explorables" / "modele" / "a.js").is_file()  # les sous-dossiers aussi
    assert extension.write_all(tmp_path, static).startswith("onnxruntime-web manque (npm")
    assert extension.NOTE == book_build.NOTE


def test_a_book_without_model_is_left_alone(tmp_path):
    assert extension.write_all(tmp_path, tmp_path / "_static") is None
    assert not (tmp_path / "_static").exists()
