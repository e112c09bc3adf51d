"""Réglages de pytest pour tout le dépôt : les carnets et leurs budgets.

Un seul appel couvre les tests et les carnets :

    pytest --nbval -n 2 --dist loadscope tests notebooks

Chaque carnet déclare un budget (secondes, mémoire) pour deux cœurs. Le test de sa dernière
cellule échoue s’il le dépasse. LLMBOOK_BUDGET_FACTOR agrandit les durées, pas la mémoire : `make
test` le met à 3, car deux carnets et Chromium se partagent les cœurs. Avec --nbval-lax (carte
graphique, Colab), les mesures sont affichées mais les budgets ne sont pas imposés, et les sorties
ne sont pas comparées.
"""

import os
import re
import textwrap
import time
from pathlib import Path

import pytest

from tools.kernels import environment, kernel_environment, over_budget, peak_memory_mb

ROOT = Path(__file__).resolve().parent
NBVAL_DEFAULT_TIMEOUT = 2000
CELL_TIMEOUT_S = 300
ANSI = re.compile(r"\x1b\[[0-9;]*m")
NBVAL_WORDS = {
    "dissimilar number of outputs for key": "nombre de sorties différent pour",
    "Reference outputs from ipynb file:": "sorties enregistrées :",
    "Reference output from ipynb file:": "sortie enregistrée :",
    "disagrees with newly computed (test) output:": "sorties obtenues :",
    "assert reference_output == test_output failed:": "enregistré == obtenu ? Non :",
    "mismatch": "différence dans",
    "Missing output fields from running code:": "absent des sorties obtenues :",
    "Unexpected output fields from running code:": "en trop dans les sorties obtenues :",
}
MEASURE = "llmbook_budget"  # nom de la mesure transmise au processus qui affiche le tableau


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "notebooks: cellules des carnets, comparées par nbval")
    if not (config.getoption("nbval", False) or config.getoption("nbval_lax", False)):
        return
    import nbval.kernel

    nbval.kernel.start_new_kernel = insistent(nbval.kernel.start_new_kernel)
    options = config.option
    if not options.nbval_sanitize_with:
        options.nbval_sanitize_with = str(ROOT / "tools" / "nbval_sanitize.cfg")
    if not options.nbval_kernel_name:
        options.nbval_current_env = True  # le noyau de cet environnement, pas un autre du même nom
    if options.nbval_cell_timeout == NBVAL_DEFAULT_TIMEOUT:
        options.nbval_cell_timeout = CELL_TIMEOUT_S


def insistent(start, attempts: int = 3):
    """Le même démarrage, recommencé : deux noyaux lancés ensemble peuvent choisir le même port."""

    def start_insistently(*arguments, **options):
        for left in reversed(range(attempts)):
            try:
                return start(*arguments, **options)
            except RuntimeError:
                if not left:
                    raise

    return start_insistently


def is_notebook_cell(item: pytest.Item) -> bool:
    return hasattr(item, "cell") and item.path.suffix == ".ipynb"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last: dict[Path, pytest.Item] = {}
    for item in items:
        if is_notebook_cell(item):
            item.add_marker("notebooks")
            last[item.path] = item
    for item in last.values():
        item.closes_notebook = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    """Le noyau démarre pendant la préparation de la première cellule : il hérite d’ici."""
    if not is_notebook_cell(item):
        return (yield)
    lax = item.config.getoption("nbval_lax", False)
    variables = kernel_environment(item.config.rootpath, allow_gpu=lax)
    Path(variables["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)
    with environment(variables):
        result = yield
    keep_history(item.parent.kernel)
    return result


def keep_history(kernel) -> None:
    """nbval exécute sans historique, et IPython ne voit plus alors le `;` qui tait une valeur."""

    def execute_cell_input(source: str, allow_stdin: bool | None = None) -> str:
        return kernel.kc.execute(
            source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
        )

    kernel.execute_cell_input = execute_cell_input


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    if not is_notebook_cell(item):
        return (yield)
    notebook = item.parent
    start = time.perf_counter()
    try:
        result = yield
    finally:
        notebook.seconds = getattr(notebook, "seconds", 0.0) + time.perf_counter() - start
        notebook.memory_mb = max(getattr(notebook, "memory_mb", 0.0), kernel_memory_mb(notebook))
        if getattr(item, "closes_notebook", False):
            item.user_properties.append((MEASURE, measure(item)))
    if getattr(item, "closes_notebook", False) and not item.config.getoption("nbval_lax", False):
        factor = float(os.environ.get("LLMBOOK_BUDGET_FACTOR", "1"))
        problems = over_budget(item.user_properties[-1][1], factor)
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Dit en français ce que nbval dit en anglais, avec le remède."""
    report = yield
    if call.excinfo is not None and report.failed and is_notebook_cell(item):
        report.longrepr = explain(item, call.excinfo.value)
    return report


def explain(item: pytest.Item, error: BaseException) -> str:
    if isinstance(error, pytest.fail.Exception):
        return str(error)
    name = page_name(item)
    if not hasattr(error, "cell_num"):
        return (
            f"{name} : le noyau n’a pas pu exécuter la cellule ({type(error).__name__} : {error})."
        )
    known = {
        "Cell outputs differ": "sorties différentes de celles du carnet",
        "Cell execution caused an exception": "exception",
        "Unrun reference cell has outputs": "sorties d’une cellule jamais exécutée",
    }
    timeout = re.match(r"Timeout of ([\d.]+) seconds", str(error))
    what = f"délai de {timeout[1]} s dépassé" if timeout else known.get(str(error), str(error))
    details = ANSI.sub("", error.inner_traceback or "").strip("\n")
    for english, french in NBVAL_WORDS.items():
        details = details.replace(english, french)
    source = textwrap.indent(error.source, "    | ")
    return (
        f"{name}, cellule de code {error.cell_num} : {what}.\n{source}\n\n{details}\n\n"
        f"Si le changement est voulu : python -m tools.notebooks {name} --forcer"
    )


def kernel_memory_mb(notebook: pytest.Collector) -> float:
    manager = getattr(notebook.kernel, "km", None)  # absent quand le noyau a été arrêté
    provisioner = getattr(manager, "provisioner", None)
    return peak_memory_mb(getattr(provisioner, "pid", None))


def page_name(item: pytest.Item) -> str:
    return item.nodeid.split("::")[0].removeprefix("notebooks/").removesuffix(".ipynb")


def measure(item: pytest.Item) -> dict:
    """La mesure du carnet entier, transmise telle quelle au tableau final (avec xdist aussi)."""
    budget = item.parent.nb.metadata.get("llmbook", {}).get("budget", {})
    return {
        "name": page_name(item),
        "seconds": round(item.parent.seconds, 1),
        "memory_mb": round(item.parent.memory_mb),
        "max_seconds": budget.get("seconds"),
        "max_memory_mb": budget.get("memory_mb"),
    }


# --- Le tableau final -------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    rows = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == MEASURE:
                    rows[value["name"]] = value
    if not rows:
        return
    terminalreporter.section("temps et mémoire des carnets")
    width = max(len(name) for name in rows)
    terminalreporter.line(f"{'carnet':{width}}  {'secondes':>16}  {'mémoire (Mo)':>16}")
    for name, row in sorted(rows.items()):
        time_cell = f"{row['seconds']:.1f} / {row['max_seconds'] or '?'}"
        memory_cell = f"{row['memory_mb']} / {row['max_memory_mb'] or '?'}"
        terminalreporter.line(f"{name:{width}}  {time_cell:>16}  {memory_cell:>16}")
    total = sum(row["seconds"] for row in rows.values())
    note = ", budgets non imposés (--nbval-lax)" if config.getoption("nbval_lax", False) else ""
    terminalreporter.line(f"{len(rows)} carnets, {total:.0f} s de calcul{note}.")
