"""La figure à manipuler « tokeniseur-vif » dans un vrai Chromium : rien avant la demande, puis tout."""

import re
import shutil

import pytest

from llmbook.tokenizer import Tokenizer
from tests.navigateur.essai import ROOT, build_figure, serve, small_figure

NANO = ROOT / "models" / "nano"
OURS = Tokenizer.from_pretrained(NANO)
PAGE = """# Tokens

:::{explorable} tokeniseur-vif
:title: Un tokeniseur dans la page

Repli de la figure.
:::
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    html = build_figure(tmp_path_factory.mktemp("vif"), PAGE)
    (html / "_static" / "modele" / "nano").mkdir(parents=True)
    shutil.copy(NANO / "tokenizer.json", html / "_static" / "modele" / "nano")
    return html


@pytest.fixture(scope="module")
def site(output):
    with serve(output) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, f"{site}essai.html", "tokeniseur-vif") as found:
        yield found
        assert all(url.startswith(site) for url in found.requests)


@pytest.fixture
def loaded(figure):
    figure.get_by_role("button", name="Charger").click()
    figure.locator("button.vif-token").first.wait_for()
    return figure


def write(figure, text):
    figure.get_by_label("Votre texte").fill(text)


def ids(figure):
    return [int(b.get_attribute("data-id")) for b in figure.locator("button.vif-token").all()]


def asked(figure):
    return [url for url in figure.requests if "/modele/" in url]


def test_nothing_is_loaded_before_the_reader_asks(figure):
    figure.get_by_label("Votre texte").focus()
    figure.page.wait_for_load_state("networkidle")
    assert asked(figure) == []
    assert "Rien n’est chargé" in figure.get_by_role("status").inner_text()
    figure.get_by_role("button", name="Charger").click()
    figure.locator("button.vif-token").first.wait_for()
    assert {url.rpartition("/")[2] for url in asked(figure)} == {
        "tokenizer.js", "tokenizer-json.js", "tokenizer.json"
    }  # fmt: skip
    assert figure.get_by_label("Votre texte").evaluate("e => e === document.activeElement")


def test_announced_size_is_that_of_the_file(figure):
    announced = int(re.search(r"(\d+)\s*ko", figure.get_by_role("button").inner_text())[1])
    assert announced == round((NANO / "tokenizer.json").stat().st_size / 1000)


def test_writing_is_asking(figure):
    figure.get_by_label("Votre texte").press_sequentially("!")
    figure.locator("button.vif-token").first.wait_for()
    assert not figure.get_by_role("button", name="Charger").is_visible()


@pytest.mark.parametrize(
    "text",
    [
        "L’été, 12 élèves\n\tdéfont 🦜.",
        "def f(x):\n    return x + 1\r\n",
        "e\u0301 \ufeff\x85 ",
        "a",
    ],
)
def test_tokens_and_counts_are_those_of_python(loaded, text):
    write(loaded, text)
    text = text.replace("\r\n", "\n")  # un champ de texte ne garde que \n
    expected = OURS.encode(text)
    assert ids(loaded) == expected
    n_bytes = len(text.encode())
    counts = loaded.locator("dd").all_inner_texts()
    ratio = f"{n_bytes / len(expected):.2f}".replace(".", ",")
    assert counts == [str(n_bytes), str(len(text)), str(len(expected)), ratio]


def test_specials_only_when_asked(loaded):
    text = "<|im_start|>bonjour<|im_end|>"
    write(loaded, text)
    assert ids(loaded) == OURS.encode(text) and not {2, 3} & set(ids(loaded))
    loaded.get_by_role("checkbox").check()
    assert ids(loaded) == OURS.encode(text, specials=True)
    first = loaded.locator("button.vif-token").first
    assert "une marque spéciale" in first.get_attribute("aria-label")
    assert first.evaluate("e => getComputedStyle(e).borderStyle") == "double"


def test_keyboard_walks_through_the_tokens(loaded):
    write(loaded, "la tokenisation")
    tokens = loaded.locator("button.vif-token")
    assert [t.get_attribute("tabindex") for t in tokens.all()].count("0") == 1
    tokens.first.click()
    seen = [loaded.locator(".vif-detail").inner_text()]
    for _ in range(tokens.count() + 1):  # une flèche de trop : on reste au dernier
        loaded.page.keyboard.press("ArrowRight")
        seen.append(loaded.locator(".vif-detail").inner_text())
    numbers = [int(re.search(r"numéro (\d+)", text)[1]) for text in seen]
    expected = OURS.encode("la tokenisation")
    assert numbers == expected + expected[-1:] * 2
    loaded.page.keyboard.press("Home")
    focused = "e => document.activeElement === e"
    assert tokens.first.evaluate(focused)
    assert tokens.first.get_attribute("aria-label") in loaded.locator(".vif-detail").inner_text()


def test_detail_gives_bytes_and_merge(loaded):
    write(loaded, "é 7")
    tokens = loaded.locator("button.vif-token")
    label = tokens.first.get_attribute("aria-label")
    rank = OURS.merges.index(tuple(OURS.tokens.index(bytes([b])) for b in "é".encode()))
    assert (
        "octets C3 A9" in label and f"rang {rank}, «\u00a0⟨C3⟩\u00a0» + «\u00a0⟨A9⟩\u00a0»" in label
    )
    assert "octet 37, un octet, présent avant" in tokens.last.get_attribute("aria-label")


def test_slider_replays_the_merges(loaded):
    write(loaded, "tokenisation")
    slider = loaded.get_by_role("slider")
    total = int(slider.get_attribute("max"))
    assert total == 12 - len(OURS.encode("tokenisation"))
    slider.press("Home")
    boxes = loaded.locator(".vif-fusions li")
    assert boxes.all_inner_texts() == list("tokenisation")
    for n in range(1, total + 1):
        slider.press("ArrowRight")
        assert "".join(boxes.all_inner_texts()) == "tokenisation" and boxes.count() == 12 - n
        sentence = loaded.locator(".vif-fusion").inner_text()
        assert sentence.startswith(f"Fusion {n} sur {total}")
        assert slider.get_attribute("aria-valuetext") == sentence
    assert boxes.all_inner_texts() == [OURS.decode([i]) for i in OURS.encode("tokenisation")]


def test_long_and_empty_texts(loaded):
    write(loaded, "mot " * 2000)
    assert loaded.locator("button.vif-token").count() == 400
    assert "400 premiers" in loaded.get_by_role("status").inner_text()
    write(loaded, "")
    assert loaded.locator("button.vif-token").count() == 0
    assert loaded.locator("dd").all_inner_texts() == ["0", "0", "0", "–"]
    write(loaded, "encore")
    assert ids(loaded) == OURS.encode("encore")


def test_missing_file_is_said_and_can_be_retried(figure, output):
    path = output / "_static" / "modele" / "nano" / "tokenizer.json"
    hidden = path.rename(path.with_suffix(".absent"))
    try:
        figure.get_by_role("button", name="Charger").click()
        figure.get_by_text("n’a pas pu être chargé").wait_for()
    finally:
        hidden.rename(path)
    figure.get_by_role("button", name="Charger").click()
    figure.locator("button.vif-token").first.wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible_and_no_overflow(loaded, axe, theme):
    loaded.page.evaluate("(t) => { document.documentElement.dataset.theme = t; }", theme)
    write(loaded, "été " * 30 + "x" * 90)
    assert loaded.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    loaded.page.evaluate(axe)
    found = loaded.page.evaluate(
        "async () => (await axe.run('.bible-explorable')).violations"
        ".filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)"
    )
    assert found == []


def test_without_javascript(browser, site):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site}essai.html")
    assert page.get_by_text("Repli de la figure.").is_visible()
    page.context.close()
