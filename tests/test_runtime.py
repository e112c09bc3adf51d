"""llmbook.runtime, comparé à ce que torch et le système disent d’eux-mêmes."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from llmbook import runtime


def test_seed_everything_repeats_every_generator():
    def draw():
        rng = runtime.seed_everything(3)
        legacy = np.random.rand()  # noqa: NPY002
        return rng.random(), random.random(), legacy, torch.rand(1).item()

    first = draw()
    assert draw() == first
    assert first[0] == np.random.default_rng(3).random()
    assert runtime.seed_everything(4).random() != first[0]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="graine"):
        runtime.seed_everything(seed)


def test_device_choice(monkeypatch):
    monkeypatch.delenv("LLMBOOK_DEVICE", raising=False)
    assert runtime.device("cpu") == torch.device("cpu")
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        assert runtime.device().type == "cpu"
    monkeypatch.setenv("LLMBOOK_DEVICE", "meta")
    assert runtime.device().type == "meta"
    assert runtime.device("cpu").type == "cpu"  # l’argument l’emporte


def test_dtype():
    assert runtime.dtype("cpu") == runtime.dtype(torch.device("cpu")) == torch.float32
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        assert runtime.dtype("cuda") == torch.bfloat16


def test_timer_measures_even_after_an_error():
    with runtime.Timer() as timer:
        time.sleep(0.02)
    assert timer.seconds >= 0.02
    with pytest.raises(RuntimeError), runtime.Timer() as timer:
        raise RuntimeError
    assert timer.seconds >= 0


def test_threads_limits_then_restores():
    before = torch.get_num_threads()
    with runtime.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="fil"):
        runtime.threads(0)


def test_threads_takes_effect_when_called():
    code = (
        "import numpy as np; from llmbook.runtime import threads; threads(1);"
        "from threadpoolctl import threadpool_info; np.ones((2, 2)) @ np.ones((2, 2));"
        "assert all(pool['num_threads'] == 1 for pool in threadpool_info())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_peak_memory_counts_an_array_even_once_freed():
    code = (
        "import numpy as np; from llmbook.runtime import peak_memory_mb; before = peak_memory_mb();"
        "block = np.ones(int(400e6 / 8)); assert block[-1] == 1; del block;"
        "assert before + 350 < peak_memory_mb() < before + 500"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
