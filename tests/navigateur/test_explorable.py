"""Les figures à manipuler dans un vrai Chromium : module, données, repli."""

import json

import pytest

from tests.navigateur.essai import serve
from tests.test_directives import build, write

MODULES = {
    "bon": "export default (root, data) => { root.textContent = `somme ${data.x[0] + data.x[1]}`; }",
    "lance": "export default () => { throw new Error('panne'); }",
    "attend": "export default async (root) => { root.textContent = 'à moitié'; throw Error('x'); }",
    "syntaxe": "export default (",
    "vide": "export const autre = 1;",
}
PAGE = "# Figures\n\n" + "".join(
    f":::{{explorable}} {name}\n:data: d.json\n\nRepli de {name}.\n:::\n\n" for name in MODULES
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    for name, text in MODULES.items():
        write(folder / "book" / "_explorables" / f"{name}.js", text)
    write(folder / "book" / "_explorables" / "d.json", json.dumps({"x": [1, 2]}))
    book = build(folder, {"figures": PAGE})
    assert book.log == ""
    with serve(book.output) as url:
        yield url


def open_page(browser, site, **options):
    page = browser.new_context(**options).new_page()
    page.goto(f"{site}figures.html")
    return page


def test_module_receives_its_data(browser, site):
    page = open_page(browser, site)
    figure = page.locator("[data-module=bon]")
    figure.get_by_text("somme 3").wait_for()
    assert not figure.get_by_text("Repli de bon.").is_visible()
    page.context.close()


@pytest.mark.parametrize("name", [name for name in MODULES if name != "bon"])
def test_failing_module_leaves_the_fallback(browser, site, name):
    page = open_page(browser, site)
    page.locator(f"[data-module={name}][data-etat=repli]").wait_for()
    assert page.get_by_text(f"Repli de {name}.").is_visible()
    assert page.locator(f"[data-module={name}] .bible-explorable-racine").count() == 0
    page.context.close()


def test_without_javascript(browser, site):
    page = open_page(browser, site, java_script_enabled=False)
    for name in MODULES:
        assert page.get_by_text(f"Repli de {name}.").is_visible()
    page.context.close()
