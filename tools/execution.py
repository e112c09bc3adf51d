"""Exécuter un carnet dans un noyau neuf, mesurer, et ranger des sorties répétables."""

import base64
import contextlib
import os
import re
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.kernels import kernel_environment, peak_memory_mb
from tools.pages import Page, is_colab
from tools.pairing import number_cells

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LIVE_KERNELS: dict[str, int] = {}  # nos noyaux en cours, pour les arrêter si l’on nous interrompt
STOPPING = threading.Event()


@dataclass(frozen=True)
class Measure:
    seconds: float
    memory_mb: float


class ExecutionError(Exception):
    """Une cellule a échoué ; le message dit laquelle, ce qu’elle contient et pourquoi."""


def execute(page: Page, notebook: NotebookNode) -> Measure:
    """Exécute toutes les cellules de `notebook` et y range leurs sorties, nettoyées.

    Lève ExecutionError à la première cellule qui échoue sans l’étiquette raises-exception.
    """
    folder = page.notebook_path.parent
    folder.mkdir(parents=True, exist_ok=True)  # le noyau y travaille
    budget = notebook.metadata.get("llmbook", {}).get("budget", {}).get("seconds", 150)
    client = NotebookClient(
        notebook,
        timeout=max(60, 4 * int(budget)),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        record_timing=False,
        shutdown_kernel="immediate",
    )
    number = memory = 0
    settings = kernel_environment(page.root)
    Path(settings["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)
    with running_kernel(client, page, os.environ | settings):
        pid = client.km.provisioner.pid
        LIVE_KERNELS[page.name] = pid
        start = time.perf_counter()
        try:
            for index, cell in enumerate(notebook.cells):
                if STOPPING.is_set():
                    raise ExecutionError(f"{page.name} : interrompue.")
                number += cell.cell_type == "code" and not is_colab(cell)
                client.execute_cell(cell, index)
                memory = max(memory, peak_memory_mb(pid))
        except CellExecutionError as error:
            raise ExecutionError(explain(page, cell, number, error.ename, error.evalue)) from error
        except CellTimeoutError as error:
            reason = f"pas de réponse après {client.timeout} s (quatre fois le budget de la page)"
            raise ExecutionError(explain(page, cell, number, "Délai dépassé", reason)) from error
        except DeadKernelError as error:
            reason = "le noyau s’est arrêté ; le plus souvent, la mémoire a manqué"
            raise ExecutionError(explain(page, cell, number, "Noyau perdu", reason)) from error
        finally:
            seconds = time.perf_counter() - start
            LIVE_KERNELS.pop(page.name, None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1  # number_cells donne le bon rang
            clean(cell, page.root)
    number_cells(notebook)
    return Measure(seconds, memory)


@contextlib.contextmanager
def running_kernel(client: NotebookClient, page: Page, env: dict[str, str]) -> Iterator[None]:
    kernel = client.setup_kernel(env=env, stderr=subprocess.DEVNULL)
    try:
        kernel.__enter__()
    except Exception as error:
        raise ExecutionError(f"{page.name} : le noyau n’a pas démarré ({error}).") from error
    try:
        yield
    finally:
        kernel.__exit__(None, None, None)


def stop_kernels() -> None:
    """Arrête tous nos noyaux : quelqu’un a interrompu la commande."""
    STOPPING.set()
    for pid in list(LIVE_KERNELS.values()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)


def explain(page: Page, cell: NotebookNode, number: int, name: str, reason: str) -> str:
    """Le message d’échec : page, numéro de la cellule, sa ligne dans le texte, son code."""
    text = page.text_path.read_text(encoding="utf-8") if page.text_path.is_file() else ""
    position = text.find(cell.source)
    line = f" (book/{page.name}.md, ligne {text.count(chr(10), 0, position) + 1})"
    source = "\n".join("    | " + row for row in cell.source.splitlines())
    return (
        f"{page.name} : la cellule de code {number} échoue{line if position >= 0 else ''}.\n"
        f"{source}\n    {name} : {ANSI.sub('', reason).strip()}"
    )


# --- Nettoyer ---------------------------------------------------------------------------------


def clean(cell: NotebookNode, root: Path) -> None:
    """Retire des sorties ce qui change d’une exécution ou d’une machine à l’autre."""
    cell.metadata.pop("execution", None)
    cell.outputs = merge_streams(cell.outputs)
    for output in cell.outputs:
        if output.output_type == "error":
            output.traceback = [line.replace(f"{root}{os.sep}", "") for line in output.traceback]
        if "metadata" in output:
            output.metadata = {}
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = strip_png(data["image/png"])


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Une seule sortie par flux (stdout, stderr), à la place de son premier morceau."""
    merged, streams = [], {}
    for output in outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        if output.output_type == "stream":
            streams[output.name] = output
        merged.append(output)
    return merged


def strip_png(encoded: str) -> str:
    """La même image sans ses textes ni sa date (`tEXt`, `tIME`…), qui dépendent des versions."""
    raw = base64.b64decode(encoded)
    kept, position = raw[:8], 8
    while position < len(raw):
        (length,) = struct.unpack(">I", raw[position : position + 4])
        kind = raw[position + 4 : position + 8]
        if kind not in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"):
            kept += raw[position : position + 12 + length]
        position += 12 + length
    return base64.b64encode(kept).decode()
