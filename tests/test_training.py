"""llmbook.training : juste, interruptible à tout instant, et qui sait dire pourquoi il s’arrête."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llmbook.batches import Batches
from llmbook.checkpoint import steps
from llmbook.model import LanguageModel, ModelConfig
from llmbook.training import Diverged, TrainConfig, prefetched, train

ROOT = Path(__file__).resolve().parents[1]
V = 40
TOKENS = np.random.default_rng(0).integers(0, V, 4000).astype(np.uint16)
CONFIG = TrainConfig(steps=6, batch_size=4, context=16, precision="float32")


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig.sized(2, V, context=32, **changes))


def change(config=CONFIG, **changes):
    return dataclasses.replace(config, **changes)


def losses(model=None, config=CONFIG, tokens=TOKENS, **options):
    return [step.loss for step in train(model or tiny(), tokens, config, **options)]


# --- la boucle ----------------------------------------------------------------------------------


def test_equals_a_plain_torch_loop():
    """AdamW de torch, F.cross_entropy, écrêtage et cosinus écrits en clair : les mêmes pertes."""
    config = change(
        optimizer="adamw", schedule="cosine", warmup=2, floor=0.1, clip=0.5, accumulate=2
    )
    steps = list(train(tiny(), TOKENS, config))

    model, batches = tiny(), Batches(TOKENS, 4, 16)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    for number, step in enumerate(steps):
        turn = math.pi * (number - 2) / 4
        factor = number / 2 if number < 2 else 0.1 + 0.9 * (1 + math.cos(turn)) / 2
        total = 0.0
        for passage in range(2):
            inputs, targets = batches.at(2 * number + passage)
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()) / 2
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * factor
        optimizer.step()
        optimizer.zero_grad()
        assert step.loss == pytest.approx(total, rel=1e-5)
        assert step.grad_norm == pytest.approx(norm.item(), rel=1e-4)
        assert step.learning_rate == pytest.approx(3e-3 * factor)
        assert step.tokens == 2 * 4 * 16 * (number + 1)


def test_accumulation_equals_a_larger_batch():
    """Deux passages de 4 suites ou un de 8 : les suites sont les mêmes, le pas aussi."""
    whole = losses(config=change(batch_size=8))
    parts = losses(config=change(batch_size=4, accumulate=2))
    assert parts == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_learns_a_cycle(optimizer, precision):
    """Un cycle de 40 tokens est entièrement prévisible : la perte tombe, de log 40 à presque 0."""
    config = change(steps=60, optimizer=optimizer, precision=precision, learning_rate=5e-3)
    model = tiny()
    cycle = np.arange(4000) % V
    seen = list(train(model, cycle, config, bytes_per_token=2.5))
    assert seen[0].loss == pytest.approx(math.log(V), rel=0.05)
    assert seen[-1].loss < 0.5
    assert seen[-1].bits_per_byte == pytest.approx(seen[-1].loss / math.log(2) / 2.5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_bfloat16_stays_near_float32():
    exact, mixed = losses(), losses(config=change(precision="bfloat16"))
    assert mixed == pytest.approx(exact, rel=5e-3) and mixed != exact


def test_seed_fixes_everything():
    assert losses() == losses()
    assert losses() != losses(config=change(seed=1))


def test_log_every_sees_the_same_run():
    one = losses(config=change(steps=7))
    some = list(train(tiny(), TOKENS, change(steps=7, log_every=3)))
    assert [step.step for step in some] == [3, 6, 7]
    assert some[0].loss == pytest.approx(sum(one[:3]) / 3) and some[2].loss == one[6]


def test_evaluates_without_training():
    modes = []

    def evaluate(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return model(torch.arange(8)[None]).square().mean()

    seen = list(train(tiny(), TOKENS, change(eval_every=4), evaluate=evaluate))
    assert [step.step for step in seen if step.eval_loss is not None] == [4, 6]
    assert modes == [(False, False)] * 2
    assert [step.loss for step in seen] == losses()


def test_a_thread_prepares_the_same_batches():
    batches, device = Batches(TOKENS, 4, 16), torch.device("cpu")
    source = prefetched(batches, 3, device, thread=True)
    for number in range(3, 12):
        for here, there in zip(next(source), batches.at(number), strict=True):
            assert torch.equal(here, there)
    source.close()


def test_the_thread_passes_its_error_on():
    class Broken:
        def at(self, number):
            raise OSError("disque retiré")

    with pytest.raises(OSError, match="disque retiré"):
        next(prefetched(Broken(), 0, torch.device("cpu"), thread=True))


@pytest.mark.lent
def test_compiled_equals_eager():
    """Compilé, l’attention est par bandes le temps d’un passage ; entre deux, celle du modèle."""
    model = tiny()
    compiled = []
    for step in train(model, TOKENS, change(compile=True)):
        compiled.append(step.loss)
        assert "attend" not in vars(model.blocks[0].attention)
    assert compiled == pytest.approx(losses(), rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pas de carte")
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_same_call_on_a_card(optimizer):
    config = change(optimizer=optimizer, log_every=2)
    assert losses(tiny().cuda(), config) == pytest.approx(losses(config=config), rel=2e-3)


# --- s’arrêter et reprendre ---------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumes_bit_for_bit(tmp_path, optimizer, precision):
    config = change(optimizer=optimizer, precision=precision, save_every=2, accumulate=2)
    whole, model = losses(config=config), tiny()
    for step in train(model, TOKENS, config, folder=tmp_path):
        if step.step == 4:
            break
    resumed = tiny(seed=9)
    assert losses(resumed, config, folder=tmp_path) == whole[4:]
    straight = tiny()
    losses(straight, config)
    for name, p in straight.named_parameters():
        assert torch.equal(p, resumed.get_parameter(name)), name
    assert losses(tiny(), config, folder=tmp_path) == []  # fini : rien à refaire


def test_restores_the_random_generators(tmp_path):
    config = change(save_every=3)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    for step in train(tiny(), TOKENS, config, folder=tmp_path):
        if step.step == 3:
            expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
            break
    torch.manual_seed(6)
    np.random.seed(6)  # noqa: NPY002
    train(tiny(), TOKENS, config, folder=tmp_path)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()  # noqa: NPY002


RUN = """
import json, sys
import numpy as np, torch
from llmbook.model import LanguageModel, ModelConfig
from llmbook.training import TrainConfig, train

torch.set_num_threads(1)
torch.manual_seed(0)
model = LanguageModel(ModelConfig.sized(2, 40, context=32))
tokens = np.random.default_rng(0).integers(0, 40, 4000).astype(np.uint16)
config = TrainConfig(steps=40, batch_size=2, context=16, save_every=1, keep=2)
print("prêt", flush=True)
for step in train(model, tokens, config, folder=sys.argv[1]):
    print(json.dumps([step.step, step.loss]), flush=True)
"""


def run(folder, kill_after_s=None):
    """Les pertes affichées par un autre processus, tué au bout de `kill_after_s` s’il le faut."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "prêt\n"
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == (0 if kill_after_s is None else -signal.SIGKILL)
    return dict(json.loads(line) for line in lines if line.endswith("]"))


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_at_any_moment_resumes_bit_for_bit(tmp_path):
    """Il enregistre à chaque pas : les arrêts tombent en calcul comme en écriture."""
    start = time.perf_counter()
    whole = run(tmp_path / "entier")
    assert list(whole) == list(range(1, 41))
    unit = (time.perf_counter() - start) / 100
    seen = {}
    for kicks in (1, 2, 3, 5, 8):
        part = run(tmp_path / "tué", kill_after_s=kicks * unit)
        for number, loss in part.items():
            assert loss == whole[number], number
        seen |= part
    seen |= run(tmp_path / "tué")
    assert seen[40] == whole[40] and all(whole[n] == loss for n, loss in seen.items())


def test_a_damaged_checkpoint_is_skipped(tmp_path):
    config = change(save_every=2)
    whole = losses(config=config, folder=tmp_path)
    weights = steps(tmp_path)[-1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="tronqué.*reprise au point précédent, step-000004"):
        assert losses(config=config, folder=tmp_path) == whole[4:]


FULL = """
import resource, signal, sys
import numpy as np, torch
from llmbook.model import LanguageModel, ModelConfig
from llmbook.training import TrainConfig, train

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
torch.manual_seed(0)
model = LanguageModel(ModelConfig.sized(2, 40, context=32))
tokens = np.random.default_rng(0).integers(0, 40, 4000).astype(np.uint16)
config = TrainConfig(steps=6, batch_size=4, context=16, precision="float32", save_every=2)
try:
    for step in train(model, tokens, config, folder=sys.argv[1]):
        if step.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
def test_full_disk_loses_nothing(tmp_path):
    """Le disque se remplit au pas 3 : le point du pas 2 reste, et l’on reprend de lui."""
    whole = losses(config=change(save_every=2))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "pas 4 non écrit" in done.stdout and "step-000002" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]
    resumed = losses(config=change(save_every=2), folder=tmp_path)
    assert resumed == whole[2:]


# --- quand la perte n’est plus un nombre --------------------------------------------------------


def poison_at(step, name="blocks.1.ffn.down.weight", value=math.nan):
    """Un entraînement dont un poids devient `value` après le pas donné ; rend l’erreur levée."""

    def start(folder, **changes):
        model = tiny()
        iterator = train(model, TOKENS, change(save_every=1, **changes), folder=folder)
        with pytest.raises(Diverged) as caught:
            for seen in iterator:
                if seen.step == step:
                    with torch.no_grad():
                        model.get_parameter(name)[3, 5] = value
        return caught.value

    return start


def test_nan_stops_with_a_diagnosis(tmp_path):
    error = poison_at(2)(tmp_path)
    assert error.step == 3
    assert error.parameter == "blocks.1.ffn.down.weight"
    assert error.module == "blocks.1.ffn.down"
    assert torch.equal(error.tokens, Batches(TOKENS, 4, 16).at(2)[0])
    text = str(error)
    for piece in ("pas 3", "la perte vaut nan", error.parameter, "learning_rate", "warmup", "clip"):
        assert piece in text, piece
    assert [path.name for path in steps(tmp_path)] == ["step-000001", "step-000002"]
    assert len(losses(config=change(save_every=1), folder=tmp_path)) == 4  # le point 2 est sain


def test_infinite_gradient_of_a_finite_loss(tmp_path):
    """Un gradient infini n’atteint pas les poids : la norme est regardée avant le pas."""
    model = tiny()
    weight = model.blocks[0].attention.out.weight
    weight.register_hook(lambda gradient: gradient * math.inf)
    before = weight.detach().clone()
    with pytest.raises(Diverged, match="pas 1 : le gradient vaut") as caught:
        losses(model)
    assert caught.value.parameter == "blocks.0.attention.out.weight"
    assert caught.value.module is None and "son gradient" in str(caught.value)
    assert torch.equal(weight, before)


def test_weights_that_overflow_are_not_saved(tmp_path):
    """La perte et le gradient sont finis, le pas démesuré : aucun point ne garde ses poids."""
    config = change(optimizer="adamw", learning_rate=1e38, weight_decay=9.0, save_every=1)
    with pytest.raises(Diverged, match="le point n’est pas écrit") as caught:
        losses(config=config, folder=tmp_path)
    assert caught.value.step == 1 and caught.value.parameter == "embed.weight"
    assert steps(tmp_path) == []


def test_read_late_the_step_is_still_named():
    """log_every=4 ne regarde qu’au pas 4, mais dit que le pas 3 est fautif."""

    class Poisoned(Batches):
        def at(self, n):
            if n == 2:
                with torch.no_grad():
                    model.norm.weight[0] = math.inf
            return super().at(n)

    model = tiny()
    with pytest.raises(Diverged, match="Les poids ont avancé depuis") as caught:
        list(train(model, Poisoned(TOKENS, 4, 16), change(log_every=4)))
    assert caught.value.step == 3


# --- mauvaises entrées --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(steps=0), "steps=0"),
        (dict(warmup=6), "se recouvrent"),
        (dict(warmup=9, schedule="cosine"), "warmup=9"),
        (dict(precision="float16"), "float32 ou bfloat16"),
        (dict(schedule="cosinus"), "cosine"),
        (dict(optimizer="adam"), "muon ou adamw"),
        (dict(parallel="tp"), "ddp ou fsdp"),
        (dict(clip=0.0), "clip=0.0"),
        (dict(learning_rate=math.nan), "learning_rate=nan"),
        (dict(save_every=-1), "save_every=-1"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        change(**changes)


@pytest.mark.parametrize(
    ("model", "tokens", "options", "message"),
    [
        (tiny, [], {}, "corpus est vide"),
        (tiny, TOKENS[:16], {}, "au moins 17"),
        (tiny, TOKENS + 1, {}, "va de 0 à 39"),
        (lambda: tiny().bfloat16(), TOKENS, {}, "float32"),
        (lambda: tiny().to("meta"), TOKENS, {}, "périphérique « meta »"),
        (tiny, Batches(TOKENS, 2, 16), {}, "lots de 2 × 16"),
        (tiny, Batches(TOKENS, 4, 16, rank=1, world_size=2), {}, "rang 1 sur 2"),
        (tiny, TOKENS, dict(bytes_per_token=0), "bytes_per_token=0"),
    ],
)
def test_bad_input(model, tokens, options, message):
    with pytest.raises(ValueError, match=message):
        train(model(), tokens, CONFIG, **options)


def test_context_too_long_and_frozen_model():
    with pytest.raises(ValueError, match="dépasse celui du modèle, 32"):
        train(tiny(), TOKENS, change(context=33))
    with pytest.raises(ValueError, match="aucun paramètre"):
        train(tiny().requires_grad_(False), TOKENS, CONFIG)


def test_resume_refuses_another_run(tmp_path):
    losses(folder=tmp_path)
    for arguments, message in [
        ((tiny(), TOKENS, change(learning_rate=1e-3)), "learning_rate : 0.003 → 0.001"),
        ((tiny(), TOKENS, change(steps=7)), "steps : 6 → 7"),
        ((tiny(d_ff=64), TOKENS, CONFIG), "d_ff : .* → 64"),
        ((tiny(), TOKENS[:-1], CONFIG), "les données ont changé"),
    ]:
        before = [p.clone() for p in arguments[0].parameters()]
        with pytest.raises(ValueError, match=message):
            train(*arguments, folder=tmp_path)
        assert all(map(torch.equal, before, arguments[0].parameters()))
    with pytest.raises(ValueError, match="contient déjà step-000006"):
        train(tiny(), TOKENS, CONFIG, folder=tmp_path, resume=False)
    assert losses(config=change(log_every=2, keep=5), folder=tmp_path) == []
