"""Les cartes d’attention dans la page : mêmes cartes que Python, clavier, pannes, accès."""

import base64
import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from llmbook.model import LanguageModel
from llmbook.tokenizer import Tokenizer
from tests.navigateur.conftest import HTML
from tests.navigateur.essai import NANO, SOURCE, absent, pages, serve_with_model

DATA = json.loads((SOURCE / "cartes-attention.json").read_text("utf-8"))
END = 0  # <|fin|>, qui ouvre chaque document
EXAMPLE = "def get(self, key):\n    return self.data[key]\n\ndef set(self, key"
PAGE = """# Cartes

:::{explorable} cartes-attention
:data: cartes-attention.json
:title: Les cartes d’attention

Repli de la figure.
:::
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_with_model(tmp_path_factory.mktemp("cartes"), PAGE) as url:
        yield url


@pytest.fixture
def open_page(browser, site):
    with pages(browser, site, "cartes-attention", timeout=60_000) as open_it:
        yield open_it


@pytest.fixture(scope="module")
def eager():
    """Le modèle du livre, par transformers, avec ses cartes."""
    theirs = LanguageModel.from_pretrained(NANO).to_hf()
    theirs.set_attn_implementation("eager")

    def maps(ids):
        with torch.no_grad():
            out = theirs(torch.tensor([ids]), output_attentions=True)
        return torch.cat(out.attentions)  # (L, H, T, T)

    return maps


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(NANO)


def root(page):
    return page.locator(".bible-explorable-racine")


def compute(page, text):
    page.get_by_role("textbox", name="Votre texte").fill(text)
    page.get_by_role("button", name="Calculer sur ce texte").click()


def wait_for(page, state, timeout=60_000):
    page.wait_for_selector(f"[data-travail={state}]", timeout=timeout)


def loaded(page):
    return [
        u for u in page.requests if "/modele/nano/" in u or "/onnxruntime/" in u or "worker.js" in u
    ]


def heads(page):
    return page.get_by_role("group", name="Têtes").get_by_role("button")


def tokens(page):
    return page.locator(".token[role=option]")


def weights(page):
    """Les largeurs des traits, en fractions : le poids exact de la tête et du token choisis."""
    return page.locator(".token .trait").evaluate_all(
        "all => all.map((e) => parseFloat(e.style.width) / 100)"
    )


def percentages(page):
    return [
        float(text.split(":")[1].replace("%", "").replace("<", "").replace(",", ".").strip())
        for text in page.locator("ol.cinq li").all_inner_texts()
    ]


# --- avant le clic -----------------------------------------------------------------------------------


def test_frozen_data_is_the_model(eager, tokenizer):
    ids = [END, *tokenizer.encode(EXAMPLE)]
    expected = eager(ids).flatten(0, 1).numpy()
    n = len(DATA["tokens"])
    assert n == len(ids) and (SOURCE / "cartes-attention.json").stat().st_size < 150_000
    rows, columns = np.tril_indices(n)
    for packed, whole in zip(DATA["cartes"], expected, strict=True):
        got = np.frombuffer(base64.b64decode(packed), np.uint8) / 255
        assert abs(got - whole[rows, columns]).max() < 1.6 / 255


def test_alive_and_nothing_is_loaded_before_the_click(open_page):
    page = open_page()
    assert heads(page).count() == 24
    heads(page).nth(15).click()
    tokens(page).nth(10).click()
    page.get_by_role("button", name="une phrase").click()
    page.wait_for_timeout(300)
    assert root(page).get_attribute("data-couche") == "4"
    assert not loaded(page)
    n, packed = len(DATA["tokens"]), np.frombuffer(base64.b64decode(DATA["cartes"][15]), np.uint8)
    whole = np.zeros((n, n))
    whole[np.tril_indices(n)] = packed / 255
    assert weights(page) == pytest.approx(whole[10].tolist(), abs=1e-4)


def test_every_head_draws_its_own_map(open_page):
    page = open_page()
    images = page.locator(".vignettes canvas").evaluate_all("all => all.map((c) => c.toDataURL())")
    assert len(set(images)) == 24


# --- sur le texte du lecteur ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["La descente de gradient est une méthode. La descente de", "x = {é}"]
)
def test_same_maps_as_python(open_page, eager, tokenizer, text):
    page = open_page()
    compute(page, text)
    page.wait_for_function(
        "document.querySelector('.source').textContent.startsWith('Votre texte')"
    )
    wait_for(page, "repos")
    ids = [END, *tokenizer.encode(text)]
    expected = eager(ids)
    assert int(root(page).get_attribute("data-longueur")) == len(ids) == tokens(page).count()
    for layer, head in ((0, 0), (3, 3), (4, 1), (5, 2)):
        heads(page).nth(4 * layer + head).click()
        for token in (0, len(ids) // 2, len(ids) - 1):
            tokens(page).nth(token).click()
            row = expected[layer, head, token]
            assert weights(page) == pytest.approx(row.tolist(), abs=1e-4)
            top = 100 * row[: token + 1].topk(min(5, token + 1)).values
            assert percentages(page) == pytest.approx(top.tolist(), abs=0.51)


def test_long_texts_are_cut_and_it_is_said(open_page):
    page = open_page()
    compute(page, "import os\n" * 60)
    page.locator(".souci").get_by_text("63 premiers").wait_for()
    assert tokens(page).count() == 64


def test_empty_text_has_one_token(open_page):
    page = open_page()
    compute(page, "")
    page.wait_for_selector("[data-longueur='1'][data-travail=repos]")
    assert percentages(page) == [100]


BROKEN = {
    "altéré": ("**/poids-03.bin", lambda r: r.fulfill(body=b"\0" * 2_000_000), "empreinte"),
    "injoignable": ("**/attention.onnx", lambda r: r.abort(), "hors d’atteinte"),
    "moteur": ("**/onnxruntime/manifeste.json", lambda r: r.fulfill(status=404), "npm"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_failed_load_is_said_and_can_be_tried_again(open_page, case):
    pattern, answer, message = BROKEN[case]
    page = open_page()
    page.context.route(pattern, answer)
    compute(page, "a = 1")
    page.locator(".souci").get_by_text("recommencer").wait_for()
    assert message in page.locator(".souci").text_content()
    assert tokens(page).count() == len(DATA["tokens"])  # l’exemple reste
    page.context.unroute(pattern)
    compute(page, "a = 1")
    page.wait_for_function(
        "document.querySelector('.source').textContent.startsWith('Votre texte')"
    )
    wait_for(page, "repos")
    assert page.locator(".souci").text_content() == ""


def test_stop_while_loading(open_page):
    page = open_page()
    page.route("**/poids-03.bin", lambda route: None)  # ne répond jamais
    compute(page, "a = 1")
    wait_for(page, "charge")
    assert page.get_by_label("Chargement du modèle").is_visible()
    page.keyboard.press("Escape")
    wait_for(page, "repos", timeout=2_000)
    assert page.get_by_role("status").text_content() == "Arrêté."


def test_without_webassembly(open_page):
    page = open_page("delete window.WebAssembly;")
    assert "WebAssembly" in page.locator(".souci").text_content()
    assert page.get_by_role("button", name="Calculer").is_disabled()
    heads(page).nth(3).click()  # l’exemple reste explorable
    assert root(page).get_attribute("data-tete") == "4"
    assert not loaded(page)


def test_without_javascript(browser, site):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site)
    assert page.get_by_text("Repli de la figure.").is_visible()
    page.context.close()


# --- clavier, lecteur d’écran, accès ----------------------------------------------------------------------


def focused(page, locator, rank):
    return locator.nth(rank).evaluate("e => e === document.activeElement")


def test_keyboard_alone(open_page):
    page = open_page()
    page.get_by_role("button", name="Calculer").focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.vignettes') !== null"):
            break
    start = 4 * DATA["depart"][0] + DATA["depart"][1]
    assert focused(page, heads(page), start)
    page.keyboard.press("ArrowUp")
    assert focused(page, heads(page), start - 4)
    page.keyboard.press("ArrowRight")
    assert focused(page, heads(page), start - 3)
    assert heads(page).nth(start - 3).get_attribute("aria-pressed") == "true"
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")  # rien au-delà
    assert focused(page, heads(page), 23)
    page.keyboard.press("Tab")
    assert focused(page, tokens(page), DATA["depart"][2])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert focused(page, tokens(page), 1)
    assert tokens(page).nth(1).get_attribute("aria-selected") == "true"
    for group in (heads(page), tokens(page)):
        assert group.evaluate_all("all => all.filter((e) => e.tabIndex === 0).length") == 1


def test_the_screen_reader_hears_the_five_most_watched(open_page):
    page = open_page()
    heads(page).nth(15).click()
    tokens(page).nth(12).click()
    said = page.get_by_role("status").text_content()
    assert said.startswith("Couche 4, tête 4 : token précédent. Le token 13,")
    assert said.count("place") == 5 == page.locator("ol.cinq li").count()
    assert "%" in said


def test_a_click_in_the_matrix_chooses_the_line(open_page):
    page = open_page()
    box = page.locator(".cadre canvas").bounding_box()
    n = len(DATA["tokens"])
    page.mouse.move(box["x"] + box["width"] * 2.5 / n, box["y"] + box["height"] * 6.5 / n)
    assert "→" in page.locator(".sous-souris").text_content()  # la valeur est écrite
    page.mouse.down()
    page.mouse.up()
    assert root(page).get_attribute("data-token") == "6"


def serious(page, axe):
    page.evaluate(axe)
    result = page.evaluate("() => axe.run('.bible-explorable', {resultTypes: ['violations']})")
    return [v["id"] + " " + json.dumps(v["nodes"][0]["html"]) for v in result["violations"]
            if v["impact"] in ("serious", "critical")]  # fmt: skip


@pytest.mark.parametrize("theme", ["clair", "sombre"])
@pytest.mark.parametrize("width", [375, 1280])
def test_accessible_in_the_book(visit, axe, theme, width):
    for path in sorted(HTML.glob("notebooks/ch03-transformeurs/*.html")):
        if 'data-module="cartes-attention"' in path.read_text(encoding="utf-8"):
            break
    else:
        absent("aucune page du livre construit ne porte l’explorable « cartes-attention »")
    found = visit(path.relative_to(HTML).as_posix(), theme, width)
    page = found.page
    assert not [r for r in found.responses if "/modele/nano/" in r.url or "/onnxruntime/" in r.url]
    assert not serious(page, axe)
    compute(page, "class Point:\n    def __init__(self, x, y):\n        self.x = x")
    page.wait_for_function(
        "document.querySelector('.source').textContent.startsWith('Votre texte')"
    )
    tokens(page).nth(5).click()
    assert not serious(page, axe)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
