"""llmbook.checkpoint : entier ou absent, relu exactement, refusé s’il est abîmé."""

import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
import torch

from llmbook import checkpoint
from llmbook.checkpoint import CheckpointError, latest, load, save


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "model": {"a": torch.randn(50, 7, generator=generator), "b": torch.zeros(())},
        "optimizer": {"0.a.step": torch.tensor(3.0), "0.a.m": torch.ones(9).bfloat16()},
        "random": {"torch": generator.get_state()},
    }


def same(left, right):
    assert left.keys() == right.keys()
    for group in left:
        assert left[group].keys() == right[group].keys()
        for name in left[group]:
            assert torch.equal(left[group][name], right[group][name]), name


def test_round_trip(tmp_path):
    written = tensors()
    path = save(tmp_path / "essai", 7, written, {"texte": "été", "x": 0.1})
    assert path.name == "step-000007"
    found = load(path)
    same(found.tensors, written)
    assert found.step == 7 and found.state == {"texte": "été", "x": 0.1}
    assert not list(path.parent.glob(".*"))


def test_keeps_the_last_ones(tmp_path):
    for step in (1, 2, 3, 10, 11):
        save(tmp_path, step, tensors(step), {}, keep=2)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-000010", "step-000011"]
    assert latest(tmp_path).step == 11
    save(tmp_path, 12, tensors(), {}, keep=0)
    assert len(checkpoint.steps(tmp_path)) == 3


def test_no_checkpoint(tmp_path):
    assert latest(tmp_path) is None and latest(tmp_path / "absent") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lie(path):
    """Le pas changé dans etat.json, qui reste du JSON."""
    path.write_text(path.read_text("utf-8").replace('"step": 2', '"step": 5'), "utf-8")


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("model.safetensors", truncate, "tronqué"),
        ("model.safetensors", flip, "altéré"),
        ("optimizer.safetensors", flip, "altéré"),
        ("random.safetensors", os.remove, "manque"),
        ("etat.json", truncate, "illisible"),
        ("etat.json", lie, "modifié"),
        ("etat.json", os.remove, "n’a pas de etat.json"),
        ("etat.json", lambda path: path.write_text("[]"), "format"),
    ],
)
def test_a_damaged_one_is_refused_and_the_previous_used(tmp_path, name, damage, reason):
    save(tmp_path, 1, tensors(1), {})
    save(tmp_path, 2, tensors(2), {})
    damage(tmp_path / "step-000002" / name)
    with pytest.raises(CheckpointError, match=reason):
        load(tmp_path / "step-000002")
    with pytest.warns(UserWarning, match=f"{reason}.*reprise au point précédent, step-000001"):
        found = latest(tmp_path)
    assert found.step == 1
    same(found.tensors, tensors(1))

    save(tmp_path, 2, tensors(2), {})  # arrivé au même pas, il est récrit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest(tmp_path).step == 2


def test_the_only_good_one_is_not_pruned(tmp_path):
    save(tmp_path, 1, tensors(), {})
    save(tmp_path, 9, tensors(), {}, keep=2)
    flip(tmp_path / "step-000009" / "model.safetensors")
    save(tmp_path, 2, tensors(), {}, keep=1)
    with pytest.warns(UserWarning):
        assert latest(tmp_path).step == 2


def test_all_damaged(tmp_path):
    save(tmp_path, 1, tensors(), {})
    truncate(tmp_path / "step-000001" / "model.safetensors")
    with pytest.raises(CheckpointError, match="aucun point entier"):
        latest(tmp_path)


def test_no_pickle(tmp_path):
    """Tous les fichiers sont du JSON ou du safetensors (8 octets de longueur, puis du JSON)."""
    for path in save(tmp_path, 1, tensors(), {}).iterdir():
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            length = int.from_bytes(content[:8], "little")
            content = content[8 : 8 + length]
        json.loads(content)


FULL = """
import resource, signal, sys, torch
from llmbook.checkpoint import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
small = {"model": {"a": torch.ones(10)}}
save(sys.argv[1], 1, small, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    save(sys.argv[1], 2, {"model": {"a": torch.ones(100)}, "optimizer": {"m": torch.ones(10**6)}}, {})
except OSError as error:
    print(error.errno, error)
save(sys.argv[1], 3, small, {})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
def test_full_disk(tmp_path):
    """Le système refuse d’écrire plus de 200 ko par fichier : le point 1 reste, rien ne traîne."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "point de reprise du pas 2 non écrit" in done.stdout
    assert "Points intacts : step-000001" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001", "step-000003"]
    assert load(tmp_path / "step-000001").step == 1 and latest(tmp_path).step == 3


ENDLESS = """
import itertools, sys, torch
from llmbook.checkpoint import save
from pathlib import Path
for step in itertools.count(1):
    a = torch.full((500_000,), float(step))
    save(sys.argv[1], step, {"model": {"a": a}, "optimizer": {"m": a}}, {"pas": step}, keep=2)
    if step == 2:
        print("deux", flush=True)
"""


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_while_writing(tmp_path):
    """Tué à des moments quelconques d’une écriture continue : toujours un point entier, exact."""
    drafts = 0
    for delay_ms in (0, 3, 7, 13, 21):
        folder = tmp_path / str(delay_ms)
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "deux\n"
        signal.sigtimedwait([], delay_ms / 1000)
        process.kill()
        process.wait()
        process.stdout.close()
        drafts += any(folder.glob(".step-*"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # le dernier nommé est entier : rien à sauter
            found = latest(folder)
        assert found.step >= 2 and found.state == {"pas": found.step}
        assert (found.tensors["model"]["a"] == found.step).all()
        save(folder, found.step + 1, tensors(), {})  # le brouillon laissé ne gêne pas
        assert not any(folder.glob(".*"))
    assert drafts, "aucun arrêt n’est tombé pendant une écriture : changez les délais"
