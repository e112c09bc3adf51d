"""Ce que tout noyau du livre reçoit et ce que nous mesurons de lui.

Sert à `tools.execution` (qui enregistre les sorties) et à `conftest.py` (qui les compare) :
les deux doivent démarrer leurs noyaux dans le même environnement.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


NOISE = (  # débuts d’avertissements qui ne regardent pas le lecteur d’une page
    "IProgress not found",  # tqdm sans ipywidgets, dans transformers
    "`is_gradient_checkpointing` is deprecated",  # peft appelle transformers
)


def kernel_environment(root: Path = ROOT, *, allow_gpu: bool = False) -> dict[str, str]:
    """Variables qui rendent une exécution répétable, à ajouter à celles du système.

    LLMBOOK_THREADS (1 par défaut) fixe le nombre de fils de calcul.
    """
    threads = os.environ.get("LLMBOOK_THREADS", "1")
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # sinon un avertissement dans la première sortie
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONWARNINGS": ",".join(f"ignore:{start}" for start in NOISE),
        "LLMBOOK_PROGRESS": "off",
        "IPYTHONDIR": str(root / ".cache" / "ipython"),  # pas les réglages de la personne
        "TZ": "UTC",
        "COLUMNS": "80",
    }
    if not allow_gpu:
        # Les sorties enregistrées viennent d’un processeur, même là où il y a une carte.
        variables |= {"LLMBOOK_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return variables | dict.fromkeys(THREAD_VARIABLES, threads)


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Pose des variables d’environnement le temps d’un bloc."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def peak_memory_mb(pid: int | None) -> float:
    """Pic de mémoire résidente d’un processus vivant, en Mo ; 0 s’il a disparu.

    Linux : VmHWM. Windows : peak_wset. Ailleurs, la mémoire de l’instant : appelez souvent.
    """
    if pid is None:
        return 0.0
    if sys.platform == "linux":
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0.0
        sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        return int(sizes[0]) * 1024 / 1e6 if sizes else 0.0
    import psutil

    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0.0
    return getattr(memory, "peak_wset", memory.rss) / 1e6


def over_budget(measure: dict, factor: float) -> list[str]:
    """Les dépassements, en français ; liste vide si le carnet tient dans son budget."""
    found = []
    for what, unit, digits in (("seconds", "s", 1), ("memory_mb", "Mo", 0)):
        allowed = measure[f"max_{what}"]
        if allowed is None:
            found.append(f"{measure['name']} : pas de budget déclaré ({what}).")
            continue
        slower = factor if what == "seconds" else 1  # une machine prise ne prend pas plus de mémoire
        if measure[what] > allowed * slower:
            extra = f" x {slower:g} (LLMBOOK_BUDGET_FACTOR)" if slower != 1 else ""
            found.append(
                f"{measure['name']} : {measure[what]:.{digits}f} {unit} pour un budget de "
                f"{allowed:g} {unit}{extra}. Allégez le carnet, ou relevez `budget: {what}` dans "
                "l’en-tête de la page si ce coût est voulu. Une machine chargée mesure trop long : "
                "LLMBOOK_BUDGET_FACTOR=2."
            )
    return found
