"""Le jeu de Shannon de la section « Théorie de l’information », dans un vrai Chromium."""

import json
import math
from collections import Counter

import pytest

from tests.navigateur.essai import SOURCE, pages, serve_figure

GAME = json.loads((SOURCE / "information-shannon.json").read_text(encoding="utf-8"))
PAGE = """# Jeu

:::{explorable} information-shannon
:data: information-shannon.json
:title: Le jeu de Shannon

Repli du jeu.
:::
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("jeu"), PAGE) as url:
        yield url


@pytest.fixture
def page(browser, site):
    with pages(browser, site, "information-shannon") as open_page:
        found = open_page()
        yield found
        assert all(url.startswith(site.rpartition("/")[0]) for url in found.requests)


def status(page):
    return page.get_by_role("status").inner_text()


def board(page):
    return page.locator(".jeu-phrase").inner_text()


def rest(number=0):
    sentence = GAME["phrases"][number]
    return sentence["texte"][sentence["debut"] :]


def test_data_is_consistent():
    for sentence in GAME["phrases"]:
        assert set(sentence["texte"]) <= set(GAME["alphabet"])
        assert len(sentence["essais"]) == len(sentence["texte"]) - sentence["debut"]
        assert all(1 <= n <= len(GAME["alphabet"]) for n in sentence["essais"])


def test_static_fallback_shows_the_same_game():
    page = SOURCE.parent / "ch01-mathematiques" / "information.md"
    marks = {1: "."} | {n: "+" for n in range(10, 28)}
    drawn = {
        s["texte"]: "".join(marks.get(n, str(n)) for n in s["essais"]) for s in GAME["phrases"]
    }
    lines = page.read_text(encoding="utf-8").splitlines()
    shown = [(text, lines[lines.index(text) + 1]) for text in drawn if text in lines]
    assert shown
    assert all(below.strip() == drawn[text] for text, below in shown)


def test_wrong_repeated_then_right(page):
    letter = page.get_by_label("Lettre suivante")
    wrong = next(c for c in "zxw" if c != rest()[0])
    letter.press(wrong)
    assert status(page) == f"Non, pas {wrong}."
    assert page.locator(".jeu-essayees").inner_text().endswith(f": {wrong}")
    letter.press(wrong)
    assert "déjà essayé" in status(page)
    letter.press(rest()[0])
    assert status(page).startswith(f"Oui, {rest()[0]}, en 2\u00a0essais.")
    assert board(page).endswith(rest()[0] + "▁")
    assert page.locator(".jeu-bilan").get_by_text("encore 9").count() == 2


def test_accents_capitals_and_strangers(page):
    letter = page.get_by_label("Lettre suivante")
    letter.press_sequentially("É")
    assert status(page) in ("Non, pas e.", "Oui, e, en 1\u00a0essai.")
    letter.press_sequentially("7")
    assert status(page) == "Une lettre de a à z, ou l’espace."


def test_keyboard_plays_a_whole_game(page):
    """Tabulation jusqu’au champ, deux phrases au clavier, et l’estimation attendue."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "jeu-lettre":
            break
    assert page.evaluate("document.activeElement.id") == "jeu-lettre"
    guesses = []
    for number in (0, 1):
        for i, c in enumerate(rest(number)):
            wrong = [w for w in "zx" if w != c][: i % 3]
            for key in [*wrong, c]:
                page.keyboard.press("Space" if key == " " else key)
            guesses.append(len(wrong) + 1)
        assert status(page).endswith("Phrase terminée.")
        assert board(page) == GAME["phrases"][number]["texte"]
        assert page.evaluate("document.activeElement.textContent") == "Phrase suivante"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "jeu-lettre"
    share = [n / len(guesses) for n in Counter(guesses).values()]
    high = -sum(x * math.log2(x) for x in share)
    mine = page.get_by_role("row").nth(1).inner_text()
    assert mine.split()[:2] == ["vous", str(len(guesses))]
    assert mine.endswith(f"et {high:.1f}".replace(".", ","))


def test_restart_empties_the_table(page):
    page.get_by_label("Lettre suivante").press(rest()[0])
    page.get_by_role("button", name="Recommencer").click()
    assert not page.locator(".jeu-bilan").is_visible()
    assert page.evaluate("document.activeElement.id") == "jeu-lettre"


def test_accessible(page, axe):
    page.get_by_label("Lettre suivante").press("z")
    page.evaluate(axe)
    found = page.evaluate(
        "async () => (await axe.run('.bible-explorable')).violations"
        ".filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)"
    )
    assert found == []


def test_without_javascript(browser, site):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site)
    assert page.get_by_text("Repli du jeu.").is_visible()
    page.context.close()
