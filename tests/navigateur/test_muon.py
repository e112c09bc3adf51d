"""La figure à manipuler « muon-newton-schulz » dans un vrai Chromium : réglages, verdict, thèmes."""


import pytest

from tests.navigateur.essai import serve_figure, small_figure

PAGE = """# Tailles

:::{explorable} muon-newton-schulz
:title: Où vont les valeurs singulières

Repli de la figure.
:::
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("muon"), PAGE) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, site, "muon-newton-schulz") as found:
        yield found


def set_sliders(figure, *values):
    for rank, value in enumerate(values):
        figure.locator("input[type=range]").nth(rank).evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
        )


def verdict(figure):
    return figure.locator(".bible-explorable-racine").get_attribute("data-verdict")


def test_static_fallback_is_hidden_once_ready(figure):
    assert not figure.get_by_text("Repli de la figure.").is_visible()
    assert figure.locator("svg path").last.get_attribute("d").startswith("M")


@pytest.mark.parametrize(
    ("coefficients", "steps", "expected"),
    [((3.4445, -4.775, 2.0315), 5, "intervalle"), ((3.4445, -4.775, 2.0315), 2, "lent"),
     ((1.5, -0.5, 0), 5, "lent"), ((1.5, -0.5, 0), 15, "un"), ((5, -1, 3), 5, "explose")],
)  # fmt: skip
def test_verdict_follows_the_polynomial(figure, coefficients, steps, expected):
    set_sliders(figure, *coefficients, steps)
    assert verdict(figure) == expected


def test_jordan_reaches_the_interval_of_the_page(figure):
    """Les bornes de l’équation eq-muon-intervalle : 0,68 et 1,13."""
    text = figure.get_by_role("status").inner_text()
    assert "de 0,68 à 1,13" in text and "par 485" in text
    assert text in figure.get_by_role("img").get_attribute("aria-label")


def test_presets_set_the_sliders(figure):
    figure.get_by_role("button", name="polynôme cubique").click()
    values = [e.input_value() for e in figure.locator("input[type=range]").all()]
    assert [float(v) for v in values] == [1.5, -0.5, 0, 5]
    assert verdict(figure) == "lent"


def test_keyboard(figure):
    slider = figure.get_by_role("slider", name="Nombre de pas")
    before = figure.get_by_role("status").inner_text()
    slider.focus()
    slider.press("ArrowLeft")
    assert figure.get_by_role("status").inner_text() != before
    assert slider.get_attribute("aria-valuetext") == "4"


def test_no_overflow_on_a_phone(figure):
    assert figure.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_colours_come_from_the_theme(figure):
    """Changer les variables de la page change les encres de la figure."""
    curve = figure.locator("svg path").last
    figure.page.evaluate("document.documentElement.style.setProperty('--ochre', 'rgb(1, 2, 3)')")
    assert curve.evaluate("e => getComputedStyle(e).stroke") == "rgb(1, 2, 3)"
