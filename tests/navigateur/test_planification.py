"""La figure à manipuler « planification-taux » : mêmes facteurs que llmbook.schedules."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmbook import schedules
from tests.test_directives import build

SOURCE = Path(__file__).resolve().parents[2] / "book" / "_explorables"
PAGE = """# Taux

:::{explorable} planification-taux
:title: Dessiner une planification

Repli de la figure.
:::
"""
SLIDERS = ("warmup", "decay", "floor", "stop")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taux")
    target = folder / "book" / "_explorables"
    target.mkdir(parents=True)
    shutil.copyfile(SOURCE / "planification-taux.js", target / "planification-taux.js")
    book = build(folder, {"taux": PAGE})
    assert book.log == ""
    handler = partial(Quiet, directory=str(book.output))
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/taux.html"
    httpd.shutdown()


@pytest.fixture
def figure(browser, site):
    context = browser.new_context(locale="fr-FR", viewport={"width": 375, "height": 800})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(site)
    found = page.locator("[data-module=planification-taux][data-etat=pret]")
    found.wait_for()
    yield found
    context.close()
    assert not errors


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
