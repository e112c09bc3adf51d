"""Plusieurs processus par torchrun : les pertes d’un seul, et des points qui passent de l’un à l’autre."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import json, os, sys
import numpy as np, torch
from llmbook import training_parallel
from llmbook.model import LanguageModel, ModelConfig
from llmbook.training import TrainConfig, train

parallel, optimizer, folder, stop = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
torch.set_num_threads(1)
rank = 0
if parallel != "seul":
    training_parallel.start("gloo")
    rank = torch.distributed.get_rank()
torch.manual_seed(rank)  # les poids du premier processus sont donnés aux autres
model = LanguageModel(ModelConfig.sized(2, 64, context=32))
tokens = np.random.default_rng(0).integers(0, 64, 5000).astype(np.uint16)
config = TrainConfig(
    steps=8, batch_size=4, context=32, accumulate=2, optimizer=optimizer, precision="float32",
    save_every=4, keep=0, parallel="ddp" if parallel == "seul" else parallel,
)
def evaluate(model):
    return float(model(torch.arange(10)[None]).square().mean())
for step in train(model, tokens, config, folder=folder, evaluate=evaluate):
    if rank == 0:
        print(json.dumps([step.step, step.loss, step.grad_norm, step.eval_loss]), flush=True)
    if step.step == stop:
        break
"""


def losses(tmp_path, parallel, optimizer, folder, stop=8):
    script = tmp_path / "essai.py"
    script.write_text(SCRIPT, "utf-8")
    command = [sys.executable, str(script)]
    if parallel != "seul":
        launch = "-m torch.distributed.run --standalone --nproc-per-node 2".split()
        command = [sys.executable, *launch, str(script)]
    done = subprocess.run(
        [*command, parallel, optimizer, str(folder), str(stop)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def close(left, right, rel):
    assert [row[0] for row in left] == [row[0] for row in right]
    for a, b in zip(left, right, strict=True):
        assert a[1] == pytest.approx(b[1], rel=rel)
        assert a[2] == pytest.approx(b[2], rel=10 * rel)
        if a[3] is not None:
            assert a[3] == pytest.approx(b[3], rel=100 * rel)


@pytest.mark.lent
@pytest.mark.parametrize(("optimizer", "rel"), [("adamw", 2e-6), ("muon", 1e-4)])
def test_same_losses_as_alone(tmp_path, optimizer, rel):
    """À 2 millionièmes près avec AdamW ; avec Muon, dont les produits sont en bf16, à 1e-4 près."""
    alone = losses(tmp_path, "seul", optimizer, tmp_path / "seul")
    assert len(alone) == 8
    for parallel in ("ddp", "fsdp"):
        close(losses(tmp_path, parallel, optimizer, tmp_path / parallel), alone, rel)


@pytest.mark.lent
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_checkpoint_goes_from_two_processes_to_one_and_back(tmp_path, optimizer):
    """Écrit à deux sous FSDP au pas 4, repris seul ; écrit seul, repris à deux."""
    alone = losses(tmp_path, "seul", optimizer, tmp_path / "un")
    losses(tmp_path, "fsdp", optimizer, tmp_path / "deux", stop=4)
    close(losses(tmp_path, "seul", optimizer, tmp_path / "deux"), alone[4:], 1e-4)

    losses(tmp_path, "seul", optimizer, tmp_path / "encore", stop=4)
    close(losses(tmp_path, "fsdp", optimizer, tmp_path / "encore"), alone[4:], 1e-4)


def test_start_outside_torchrun():
    from llmbook.training_parallel import start

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RANK", raising=False)
        with pytest.raises(ValueError, match="torchrun"):
            start()
