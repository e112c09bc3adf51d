"""Exécuter le code d’un lecteur sans qu’il puisse emporter le carnet avec lui.

Une réponse peut boucler sans fin, afficher des mégaoctets, remplir la mémoire, quitter
l’interpréteur ou modifier ses arguments. `run` en fait toujours un `Outcome` qui se raconte.

Limite : un calcul qui ne rend jamais la main à l’interpréteur (une seule opération numpy
gigantesque) n’est interrompu qu’à sa fin. Ce n’est pas un bac à sable de sécurité.
"""

import copy
import ctypes
import inspect
import io
import pickle
import random
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

SHOWN_CHARS = 2048
MAX_ITEMS = 100_000  # d’un générateur renvoyé par la réponse


class TimeUp(BaseException):
    """Le temps est écoulé. Pas une `Exception` : `except Exception` ne doit pas l’avaler."""


@dataclass(frozen=True)
class Failure:
    """Une exception levée par la réponse. `line` est la ligne fautive de sa fonction."""

    kind: str
    message: str
    line: str = ""
    lineno: int = 0


@dataclass(frozen=True)
class Outcome:
    """Ce qu’a donné un appel : une valeur ou un échec, et ce qu’il a laissé derrière lui."""

    value: object = None
    failure: Failure | None = None
    printed: str = ""
    printed_chars: int = 0
    mutated: tuple[int, ...] = ()

    @property
    def timed_out(self) -> bool:
        return self.failure is not None and self.failure.kind == TimeUp.__name__


def run(function: Callable, args: tuple = (), *, through: Callable | None = None,
        timeout_s: float = 5.0, memory_mb: int = 2048) -> Outcome:  # fmt: skip
    """Appelle `function(*args)` sur une copie des arguments et dit ce qui s’est passé.

    through(function, *args) remplace l’appel direct quand il ne suffit pas.
    """
    args = copy.deepcopy(args)
    before = [_fingerprint(arg) for arg in args]
    screen = _Screen()
    main = threading.current_thread() is threading.main_thread()
    call = _call_with_alarm if main and hasattr(signal, "setitimer") else _call_in_thread
    with _seeded(), _quiet(screen), _memory_limit(memory_mb):
        value, error = call(*((through, (function, *args)) if through else (function, args)),
                            timeout_s)  # fmt: skip
    failure = _describe(error, function) if error is not None else None
    mutated = tuple(i for i, arg in enumerate(args) if _fingerprint(arg) != before[i])
    return Outcome(value, failure, screen.text(), screen.count, mutated)


# --- L’appel, et ce qu’il lève


def _attempt(function: Callable, args: tuple) -> tuple[object, BaseException | None]:
    try:
        value = function(*args)
        return (list(islice(value, MAX_ITEMS)) if isinstance(value, Iterator) else value), None
    except KeyboardInterrupt:
        raise  # le lecteur arrête lui-même la cellule
    except BaseException as error:
        return None, error


def _describe(error: BaseException, function: Callable) -> Failure:
    """L’exception en texte, sans la garder : elle retiendrait toute la mémoire de ses cadres."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = _filename(function)
    at = next((frame for frame in reversed(frames) if frame.filename == theirs), None)
    line = f"ligne {at.lineno} : {at.line}" if at and at.line else ""
    return Failure(type(error).__name__, _abridge(_message(error)), line, at.lineno if at else 0)


def _filename(function: Callable) -> str | None:
    """Le fichier, ou la cellule, où la réponse est écrite."""
    function = inspect.unwrap(function)
    if isinstance(function, type):
        methods = vars(function).values()
        function = next((method for method in methods if hasattr(method, "__code__")), None)
    return getattr(getattr(function, "__code__", None), "co_filename", None)


def _message(error: BaseException) -> str:
    try:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))
    except Exception:
        return ""


def _abridge(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


# --- Le temps : une alarme, ou un fil d’exécution là où il n’y a pas d’alarme


def _call_with_alarm(function: Callable, args: tuple, timeout_s: float):
    """Une alarme lève `TimeUp` dans la réponse, encore et encore jusqu’à ce qu’elle cède.

    Une réponse qui avale tout (`except BaseException: pass`) reçoit aussi l’exception à la
    ligne suivante, c’est-à-dire dans son `except`, d’où elle s’échappe.
    """
    tracer = sys.gettrace()

    def insist(frame, event, arg):
        if event == "line" and frame.f_code.co_filename != __file__:
            raise TimeUp
        return insist

    def ring(signum, frame):
        if frame is None or frame.f_code.co_filename == __file__:
            return  # la réponse a déjà rendu la main
        while frame and frame.f_code.co_filename != __file__:
            frame.f_trace, frame = insist, frame.f_back
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-3), 0.02)
        sys.settrace(insist)
        raise TimeUp

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, max(timeout_s, 0.001), 0.02)
    try:
        return _attempt(function, args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(tracer)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _call_in_thread(function: Callable, args: tuple, timeout_s: float):
    """Hors du fil principal, ou sous Windows : un fil à part, interrompu de force."""
    answer = []

    def work():
        try:
            answer.append(_attempt(function, args))
        except TimeUp:  # reçue juste après que la réponse a cédé
            answer.append((None, TimeUp()))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(timeout_s)
    for _ in range(100):
        if not worker.is_alive():
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(worker.ident), ctypes.py_object(TimeUp)
        )
        worker.join(0.02)
    return answer[0] if answer else (None, TimeUp("elle tourne encore : redémarrez le noyau"))


# --- L’écran, la mémoire, le hasard


class _Screen(io.TextIOBase):
    """Retient le début de ce qui s’affiche et compte le reste."""

    def __init__(self):
        self._kept, self.count = "", 0

    def write(self, text: str) -> int:
        self._kept += text[: SHOWN_CHARS - len(self._kept)]
        self.count += len(text)
        return len(text)

    def text(self) -> str:
        return self._kept


@contextmanager
def _quiet(screen: _Screen):
    with redirect_stdout(screen), redirect_stderr(screen), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leur texte contient le chemin de la cellule
        yield


@contextmanager
def _memory_limit(memory_mb: int):
    """Sous Linux, une allocation démesurée lève `MemoryError` au lieu de tuer le noyau."""
    statm = Path("/proc/self/statm")
    torch = sys.modules.get("torch")
    if not statm.exists() or (torch is not None and torch.cuda.is_available()):
        yield  # CUDA réserve des dizaines de Go d’adresses : la limite le casserait
        return
    import resource

    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + memory_mb * 2**20
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _seeded():
    """Le même hasard global à chaque appel ; celui du carnet est rendu intact."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch = sys.modules.get("torch")
    kept_torch = torch.get_rng_state() if torch else None
    if torch:
        torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        if torch:
            torch.set_rng_state(kept_torch)


def _fingerprint(value: object) -> bytes | None:
    """De quoi voir qu’un argument a changé, pour les types qui se modifient sur place."""
    if not isinstance(value, (np.ndarray, list, dict, set)) and not hasattr(value, "detach"):
        return None
    try:
        return pickle.dumps(value)
    except Exception:  # une fonction locale dans une liste, par exemple
        return None
