"""La figure à manipuler « carte-plongements » : voisins vrais, voisins apparents, accès au clavier."""

import json

import numpy as np
import pytest

from llmbook.word_vectors import shared_neighbours
from tests.navigateur.essai import SOURCE, serve_figure, small_figure

DATA = json.loads((SOURCE / "carte-plongements.json").read_text("utf-8"))
PAGE = """# Carte

:::{explorable} carte-plongements
:data: carte-plongements.json
:title: La carte des mots

Repli de la figure.
:::
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("carte"), PAGE) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, site, "carte-plongements") as found:
        yield found


def flat(points, k):
    """Les k plus proches sur la carte ; à distance égale, le plus petit indice."""
    points = np.array(points)
    squares = ((points[:, None] - points[None]) ** 2).sum(-1).astype(float)
    np.fill_diagonal(squares, np.inf)
    return np.argsort(squares, axis=1, kind="stable")[:, :k]


def search(figure, word):
    box = figure.get_by_role("combobox", name="Chercher un mot")
    box.fill(word)
    box.press("Enter")
    return figure.locator(".bible-explorable-racine")


@pytest.mark.parametrize("name", ["tsne", "acp"])
def test_same_neighbours_as_the_book(figure, name):
    figure.get_by_role("combobox", name="Carte").select_option(name)
    truth = np.array(DATA["voisins"])
    shown = flat(DATA["cartes"][name], truth.shape[1])
    kept = shared_neighbours(truth, shown)
    for word in ("dict", "date", "socket"):
        root = search(figure, word)
        rank = DATA["mots"].index(word)
        assert root.get_attribute("data-mot") == word
        assert int(root.get_attribute("data-gardes")) == round(kept[rank] * truth.shape[1])
        assert float(root.get_attribute("data-part")) == pytest.approx(kept.mean(), abs=1e-4)
        group = figure.get_by_role("group", name="Voisins apparents")
        names = [text[2:] for text in group.get_by_role("button").all_inner_texts()]
        assert names == [DATA["mots"][i] for i in shown[rank]]


def test_true_neighbours_are_linked(figure):
    root = search(figure, "dict")
    lines = root.locator("g.liens line")
    assert lines.count() == 10
    dashed = lines.evaluate_all(
        "ls => ls.filter(l => l.getAttribute('stroke-dasharray') !== 'none').length"
    )
    assert dashed == 10 - int(root.get_attribute("data-gardes"))


def test_keyboard_walks_from_word_to_word(figure):
    root = search(figure, "dict")
    first = figure.get_by_role("group", name="Voisins vrais").get_by_role("button").first
    target = first.inner_text()[2:]
    first.focus()
    first.press("Enter")
    assert root.get_attribute("data-mot") == target
    again = figure.get_by_role("group", name="Voisins vrais").get_by_role("button").first
    assert again.evaluate("e => e === document.activeElement")  # le foyer n’est pas perdu
    said = figure.get_by_role("status").inner_text()
    assert target in said and said in figure.get_by_role("img").get_attribute("aria-label")


def test_unknown_word_is_said(figure):
    root = search(figure, "zzz")
    assert "n’est pas parmi" in figure.get_by_role("status").inner_text()
    assert root.get_attribute("data-mot") == "dict"


def test_a_click_chooses_a_word(figure):
    root = search(figure, "dict")
    rank = DATA["mots"].index("socket")
    root.locator("g.points circle").nth(rank).dispatch_event("click")
    assert root.get_attribute("data-mot") == "socket"


def test_no_overflow_on_a_phone(figure):
    assert not figure.get_by_text("Repli de la figure.").is_visible()
    assert figure.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_data_is_small_and_whole():
    n = len(DATA["mots"])
    assert (SOURCE / "carte-plongements.json").stat().st_size < 60_000
    assert len(set(DATA["mots"])) == n == len(DATA["voisins"])
    assert all(len(points) == n for points in DATA["cartes"].values())
    assert all(i not in list_ for i, list_ in enumerate(DATA["voisins"]))
