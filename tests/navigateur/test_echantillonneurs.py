"""La figure « echantillonneurs » : les lois de llmbook, les logits de nano, dans un vrai Chromium.

python -m tests.navigateur.test_echantillonneurs   # récrit book/_explorables/echantillonneurs.json
"""

import json
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmbook.generation_filters import entropy, eta, top_n_sigma, typical  # noqa: E402
from llmbook.generation_sampling import Sampling  # noqa: E402
from tests.navigateur.essai import ROOT, SOURCE, serve_figure, small_figure  # noqa: E402

DATA = SOURCE / "echantillonneurs.json"
TEXTS = {
    "import": "import os\nimport",
    "méthode": "class Queue:\n    def",
    "fonction": "def",
    "condition": "    if",
}
EXACT, KNOTS = 60, 40
PAGE = """# Loi

:::{explorable} echantillonneurs
:data: echantillonneurs.json
:title: Une loi de nano, tous les filtres

Repli de la figure.
:::
"""


def visible(text):
    return text.replace(" ", "␣").replace("\n", "⏎")


def contexts():
    """Ce que contient le fichier de données, recalculé avec nano."""
    from llmbook.model import LanguageModel
    from llmbook.tokenizer import Tokenizer

    model = LanguageModel.from_pretrained(ROOT / "models" / "nano")
    tokenizer = Tokenizer.from_pretrained(ROOT / "models" / "nano")
    found = []
    for name, text in TEXTS.items():
        with torch.no_grad():
            logits = model(torch.tensor([[tokenizer.fin, *tokenizer.encode(text)]]))[0, -1]
        ordered, order = logits.sort(descending=True)
        ranks = np.unique(np.geomspace(EXACT, len(logits), KNOTS).round().astype(int))
        found.append(
            {
                "nom": name,
                "texte": visible(text),
                "tokens": [visible(tokenizer.decode([i])) for i in order[:EXACT].tolist()],
                "logits": [round(z, 3) for z in ordered[:EXACT].tolist()],
                "reste": [[int(rank), round(float(ordered[rank - 1]), 3)] for rank in ranks],
            }
        )
    return found


@pytest.fixture(scope="module")
def data():
    return json.loads(DATA.read_text(encoding="utf-8"))["contextes"]


def expanded(context):
    """Les mêmes logits que la figure, en float32, sans ex æquo dans la queue."""
    ranks, values = zip(*context["reste"], strict=True)
    rest = np.interp(np.arange(EXACT + 1, ranks[-1] + 1), ranks, values)
    return torch.tensor([*context["logits"], *rest], dtype=torch.float32)


def test_data_come_from_nano(data):
    for ours, found in zip(contexts(), data, strict=True):
        assert (ours["nom"], ours["texte"]) == (found["nom"], found["texte"])
        assert ours["tokens"][:5] == found["tokens"][:5]
        np.testing.assert_allclose(ours["logits"], found["logits"], atol=0.01)
        np.testing.assert_allclose(
            [z for _, z in ours["reste"]], [z for _, z in found["reste"]], atol=0.01
        )


def python_law(context, settings):
    """La loi de llmbook ; la température passe avant les filtres, ou après si first est faux."""
    more = [
        partial(function, **{argument: settings[name]})
        for name, function, argument in (
            ("typicalP", typical, "mass"),
            ("eta", eta, "cutoff"),
            ("sigma", top_n_sigma, "n"),
        )
        if settings.get(name) is not None
    ]
    T = settings.get("temperature", 1.0)
    first = settings.get("first", True)
    sampling = Sampling(
        T if first else 1.0, settings.get("topK"), settings.get("topP"), settings.get("minP"),
        more=more,
    )  # fmt: skip
    logits = sampling.filtered(expanded(context))
    return (logits if first else logits / T).softmax(-1)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_figure(tmp_path_factory.mktemp("loi"), PAGE) as url:
        yield url


@pytest.fixture
def figure(browser, site):
    with small_figure(browser, site, "echantillonneurs") as found:
        yield found


SLIDERS = ("temperature", "topK", "topP", "minP", "typicalP", "eta", "sigma")


def choose(figure, context=0, order="first", **values):
    """Retire tout, puis règle ce qui est donné."""
    figure.get_by_role("button", name="Tout retirer").click()
    figure.locator("select").nth(0).select_option(str(context))
    figure.locator("select").nth(1).select_option(order)
    for name, value in values.items():
        slider = figure.locator("input[type=range]").nth(SLIDERS.index(name))
        slider.evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})) }",
            str(value),
        )


CASES = [
    dict(),
    dict(temperature=0.5),
    dict(temperature=1.7, topK=20),
    dict(topP=0.9),
    dict(temperature=1.5, topP=0.9),
    dict(minP=0.1),
    dict(temperature=2, minP=0.05),
    dict(typicalP=0.2),
    dict(temperature=0.7, typicalP=0.8),
    dict(eta=0.002),
    dict(sigma=1.0),
    dict(temperature=2.3, sigma=1.5),
    dict(temperature=1.3, topK=50, topP=0.95, minP=0.02, typicalP=0.9, eta=0.0005, sigma=2.5),
]


LAW_OF = """async ([url, contexts, settings]) => {
    const { law, expand } = await import(url);
    return contexts.map((context) => Array.from(law(expand(context), settings)));
}"""


@pytest.mark.parametrize("order", ["first", "last"])
def test_laws_are_those_of_python(figure, data, order):
    """Toute la loi, dans chaque contexte ; puis ce que la figure affiche du premier."""
    url = figure.page.url.replace("essai.html", "_static/explorables/echantillonneurs.js")
    shown = figure.locator("[data-gardes]")
    for settings in CASES:
        full = {"temperature": 1} | settings | {"first": order == "first"}
        found = figure.page.evaluate(LAW_OF, [url, data, full])
        laws = [python_law(context, full) for context in data]
        for ours, law in zip(map(torch.Tensor, found), laws, strict=True):
            assert torch.equal(ours > 0, law > 0)
            torch.testing.assert_close(ours, law, atol=1e-6, rtol=1e-3)
        choose(figure, 0, order, **settings)
        assert int(shown.get_attribute("data-gardes")) == int((laws[0] > 0).sum())
        h = float(entropy(laws[0].log()))
        assert float(shown.get_attribute("data-entropie")) == pytest.approx(h, abs=2e-3)


def test_kept_and_dropped_differ_by_pattern(figure):
    choose(figure, topK=3)
    assert figure.locator("rect.garde").count() == 3
    assert figure.locator("rect.jete").count() == EXACT - 3
    style = figure.locator("rect.jete").first.get_attribute("style")
    assert "url(#hachures" in style
    assert "jeté" in figure.locator("li").nth(3).inner_text()
    choose(figure, typicalP=0.2)
    assert "Le token le plus probable est jeté." in figure.get_by_role("status").inner_text()


def test_keyboard_and_names(figure):
    choose(figure)
    slider = figure.get_by_role("slider", name="top-p")
    assert slider.get_attribute("aria-valuetext") == "sans"
    before = figure.get_by_role("status").inner_text()
    slider.focus()
    for _ in range(4):
        slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "0,80"
    status = figure.get_by_role("status").inner_text()
    assert status != before and "% de la masse" in status
    assert status in figure.get_by_role("img").get_attribute("aria-label")


def test_no_overflow_on_a_phone(figure):
    assert figure.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


if __name__ == "__main__":
    text = json.dumps({"contextes": contexts()}, ensure_ascii=False, separators=(",", ":"))
    DATA.write_text(text + "\n", encoding="utf-8")
