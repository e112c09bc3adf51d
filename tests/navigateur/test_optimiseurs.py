"""La figure à manipuler « optimiseurs-pas » dans un vrai Chromium : réglages, verdict, thèmes."""


import pytest

from tests.navigateur.essai import serve_figure, small_figure

PAGE = """# Pas

:::{explorable} optimiseurs-pas
:data: optimiseurs-pas.json
:title: Le pas et l’inertie

Repli de la figure.
:::
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("pas"), PAGE) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, site, "optimiseurs-pas") as found:
        yield found


def set_slider(figure, rank, value):
    slider = figure.locator("input[type=range]").nth(rank)
    slider.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def verdict(figure):
    return figure.locator(".bible-explorable-racine").get_attribute("data-verdict")


def test_static_fallback_is_hidden_once_ready(figure):
    assert not figure.get_by_text("Repli de la figure.").is_visible()
    assert figure.locator("svg polyline").get_attribute("points").count(",") == 61


@pytest.mark.parametrize(
    ("rate", "beta", "expected"),
    [(0.1, 0, "route"), (0.95, 0, "arrive"), (1.15, 0, "rebond"), (2, 0, "rebond"),
     (0.4, 0.6, "arrive"), (1.3, 0.5, "arrive")],
)  # fmt: skip
def test_verdict_follows_the_limit(figure, rate, beta, expected):
    """Au-delà de la limite la descente rebondit ; l’inertie repousse la limite de 1 + β."""
    set_slider(figure, 0, rate)
    set_slider(figure, 1, beta)
    assert verdict(figure) == expected


def test_keyboard(figure):
    slider = figure.locator("input[type=range]").first
    status = figure.get_by_role("status")
    before = status.inner_text()
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    assert status.inner_text() != before
    assert slider.get_attribute("aria-valuetext") == "0,25"


def test_names_and_french_numbers(figure):
    set_slider(figure, 0, 0.95)
    text = figure.get_by_role("status").inner_text()
    assert "0,95" in text and "sans inertie (28,6)" in text
    assert figure.get_by_role("slider", name="Inertie β").count() == 1
    assert text in figure.get_by_role("img").get_attribute("aria-label")


def test_no_overflow_on_a_phone(figure):
    assert figure.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_colours_come_from_the_theme(figure):
    """Changer les variables de la page change les encres de la figure."""
    trail = figure.locator("svg polyline")
    read = "e => getComputedStyle(e).stroke"
    figure.page.evaluate("document.documentElement.style.setProperty('--ochre', 'rgb(1, 2, 3)')")
    assert trail.evaluate(read) == "rgb(1, 2, 3)"
