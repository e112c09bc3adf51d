"""La machine : graine, périphérique, précision, durée, mémoire.

torch n’est chargé que si la fonction en a besoin ; ailleurs, s’il est déjà là, on le règle.
"""

import os
import random
import sys
import time

import numpy as np


def seed_everything(seed: int = 0) -> np.random.Generator:
    """Fixe les générateurs globaux (random, numpy, torch s’il est chargé) et en renvoie un neuf.

    Préférez le générateur renvoyé, passé en argument ; les globaux servent aux bibliothèques.
    ValueError si la graine n’est pas dans [0, 2**32).
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed} : une graine entre 0 et 2**32 - 1 est attendue")
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
    return np.random.default_rng(seed)


def device(name: str | None = None):
    """Périphérique torch : `name`, sinon la variable LLMBOOK_DEVICE, sinon le GPU s’il existe."""
    import torch

    name = name or os.environ.get("LLMBOOK_DEVICE")
    if name:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def dtype(device):
    """Type des calculs : bfloat16 sur un GPU qui le sait faire, float32 ailleurs."""
    import torch

    if torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


class Timer:
    """Mesure la durée d’un bloc, en secondes ; attend la fin des calculs du GPU.

    with Timer() as timer:
        ...
    timer.seconds
    """

    def __enter__(self):
        _synchronize()
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        _synchronize()
        self.seconds = time.perf_counter() - self.start


def _synchronize() -> None:
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


class threads:
    """Limite les fils de calcul (BLAS, OpenMP, torch s’il est chargé) à `n`.

    Prend effet à l’appel, `threads(2)`, et jusqu’à la fin du bloc si l’on écrit `with threads(2):`.
    """

    def __init__(self, n: int):
        if n < 1:
            raise ValueError(f"n={n} : au moins un fil de calcul est nécessaire")
        self.torch = sys.modules.get("torch")
        self.torch_before = self.torch.get_num_threads() if self.torch else None
        self.limits = _limit_native_pools(n)
        if self.torch:
            self.torch.set_num_threads(n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.limits:
            self.limits.restore_original_limits()
        if self.torch:
            self.torch.set_num_threads(self.torch_before)


def _limit_native_pools(n: int):
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # sans threadpoolctl, seul torch peut être réglé après coup
        return None
    return threadpool_limits(limits=n)


def peak_memory_mb() -> float:
    """Plus grande mémoire résidente du processus depuis son début, en Mo (10**6 octets)."""
    if sys.platform == "linux":  # ru_maxrss y compterait aussi le processus qui nous a lancés
        with open("/proc/self/status", encoding="ascii") as status:
            peak_kib = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        return int(peak_kib) * 1024 / 1e6
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
