"""Les vraies pages : texte et carnet égaux, sorties fraîches, carnets propres.

Ces tests n’exécutent rien. Chaque échec nomme la page et la commande qui répare.
"""

import pytest

from tools import hygiene, notebooks, pages, refresh
from tools.kernels import ROOT
from tools.pages import Page
from tools.pairing import Pair

PAGES = pages.find_pages(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pair_is_equal_and_outputs_are_fresh(page: Page):
    problems = notebooks.page_problems(page)
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_notebook_reads_as_a_page(page: Page):
    notebook = Pair(page).notebook
    if notebook is None:
        pytest.fail(f"{page.name} : pas de carnet.\n  → {page.command}", pytrace=False)
    problems = hygiene.problems(notebook)
    if problems:
        lines = [f"{page.name} : {problem}" for problem in problems]
        lines.append(f"  → corrigez book/{page.name}.md, puis {page.command}")
        pytest.fail("\n".join(lines), pytrace=False)


def test_published_measures_are_current():
    path = ROOT / "book" / "_data" / "notebooks.json"
    if PAGES and pages.read(path) != refresh.measures_text(ROOT):
        pytest.fail(
            "book/_data/notebooks.json ne suit pas les carnets.\n  → python -m tools notebooks",
            pytrace=False,
        )
