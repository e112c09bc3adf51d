"""La figure à manipuler « planification-taux » : mêmes facteurs que llmbook.schedules."""


import pytest

from llmbook import schedules
from tests.navigateur.essai import serve_figure, small_figure

PAGE = """# Taux

:::{explorable} planification-taux
:title: Dessiner une planification

Repli de la figure.
:::
"""
SLIDERS = ("warmup", "decay", "floor", "stop")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("taux"), PAGE) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, site, "planification-taux") as found:
        yield found


def choose(figure, form, **values):
    figure.locator("select").select_option(form)
    for name, value in values.items():
        slider = figure.locator("input[type=range]").nth(SLIDERS.index(name))
        slider.evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }",
            value,
        )
    root = figure.locator(".bible-explorable-racine")
    return float(root.get_attribute("data-fin")), root.get_attribute("data-verdict")


@pytest.mark.parametrize(
    ("form", "name", "options"),
    [("wsd", "wsd", {"decay": 0.2, "floor": 0.1}), ("cosinus", "cosine", {"floor": 0.1}),
     ("lineaire", "linear", {"floor": 0.3}), ("racine", "inverse_sqrt", {}),
     ("constante", "constant", {})],
)  # fmt: skip
def test_same_factors_as_the_book(figure, form, name, options):
    for stop in (20, 40, 200, 360, 400):
        found, _ = choose(figure, form, warmup=40, stop=stop, **options)
        assert found == pytest.approx(schedules.SCHEDULES[name](stop, 400, 40, **options), abs=1e-4)


def test_an_early_stop_misses_the_descent(figure):
    assert choose(figure, "wsd", stop=400) == (0.0, "pose")
    assert choose(figure, "wsd", stop=300)[1] == "coupe"
    assert choose(figure, "cosinus", stop=200)[1] == "coupe"


def test_keyboard_names_and_unused_sliders(figure):
    choose(figure, "cosinus")
    assert figure.get_by_role("slider", name="Part de la descente").is_disabled()
    slider = figure.get_by_role("slider", name="Arrêt au pas")
    before = figure.get_by_role("status").inner_text()
    slider.focus()
    slider.press("ArrowLeft")
    after = figure.get_by_role("status").inner_text()
    assert after != before and "380" in after
    assert after in figure.get_by_role("img").get_attribute("aria-label")


def test_no_overflow_on_a_phone(figure):
    assert not figure.get_by_text("Repli de la figure.").is_visible()
    assert figure.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
