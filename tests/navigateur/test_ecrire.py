"""Le modèle écrit dans la page, dans un vrai Chromium : mêmes tokens que Python, arrêt, pannes."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from llmbook import generation_filters
from llmbook.generation import generate
from llmbook.generation_sampling import Sampling
from llmbook.model import LanguageModel
from llmbook.tokenizer import Tokenizer
from tests.navigateur.conftest import HTML
from tests.navigateur.essai import NANO, absent, pages, serve_with_model

END = 0  # <|fin|>, qui ouvre aussi chaque document
PROMPTS = ["def read_lines(path):\n", "La descente de gradient est", "import os\n\nclass Été:\n"]
PAGE = """# Écrire

:::{explorable} ecrire
:title: Le modèle du livre écrit

Repli de la figure.
:::
"""
IMPORT = """const { Model } = await import("/_static/explorables/modele/model.js");
  window.model ??= await Model.load();"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve_with_model(tmp_path_factory.mktemp("ecrire"), PAGE) as url:
        yield url


@pytest.fixture
def open_page(browser, site):
    with pages(browser, site, "ecrire", timeout=60_000) as open_it:
        yield open_it


@pytest.fixture(scope="module")
def ready(browser, site):
    """Une page où le modèle est chargé, pour les essais qui ne parlent pas de chargement."""
    page = browser.new_context(locale="fr-FR").new_page()
    page.goto(site)
    page.evaluate(f"async () => {{ {IMPORT} }}")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def model():
    return LanguageModel.from_pretrained(NANO)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(NANO)


def figure(page):
    return page.locator(".bible-explorable-racine")


def wait_for(page, state, timeout=60_000):
    page.wait_for_selector(f".bible-explorable-racine[data-travail={state}]", timeout=timeout)


def set_slider(page, name, value):
    page.get_by_label(name).evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def write(page, prompt="def ", tokens=32, greedy=True):
    page.get_by_label("Votre amorce").fill(prompt)
    page.get_by_label("Glouton").set_checked(greedy)
    set_slider(page, "Longueur", tokens)
    page.get_by_role("button", name="Écrire", exact=True).click()


def written(page):
    return page.locator(".jeton[role=option]")


def generated(page, ids, **options):
    """Les numéros que le modèle de la page écrit après ids."""
    return page.evaluate(
        """async ([ids, options]) => {
          const out = [];
          for await (const { id } of window.model.generate(ids, options)) out.push(id);
          return out;
        }""",
        [ids, options],
    )


# --- le modèle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS)
def test_same_tokens_as_python(ready, model, tokenizer, prompt):
    ids = [END, *tokenizer.encode(prompt)]
    expected = generate(model, ids, max_tokens=96, temperature=None, stop=[END])
    got = generated(ready, ids, maxTokens=96, sampling={"temperature": None})
    assert got == expected and len(got) >= 64


def test_same_probabilities_as_python(ready, model, tokenizer):
    """Celle du token, celles des concurrents, avant et après les réglages."""
    ids = [END, *tokenizer.encode(PROMPTS[0])]
    settings = {"temperature": 0.7, "topK": 5, "topP": 0.9}
    steps = ready.evaluate(
        """async ([ids, sampling]) => {
          const out = [];
          for await (const t of window.model.generate(ids, {maxTokens: 12, sampling, seed: 3})) out.push(t);
          return out;
        }""",
        [ids, settings],
    )
    python = Sampling(temperature=0.7, top_k=5, top_p=0.9)
    for step in steps:
        with torch.no_grad():
            logits = model(torch.tensor([ids]))[0, -1]
        law, kept = logits.softmax(-1), python.probabilities(logits, ids)
        best = law.topk(8)
        assert [row[0] for row in step["top"]] == best.indices.tolist()
        for token, p, q in [*step["top"], [step["id"], step["probability"], step["sampled"]]]:
            assert p == pytest.approx(float(law[token]), abs=1e-5)
            assert q == pytest.approx(float(kept[token]), abs=1e-4)
        assert step["sampled"] > 0
        ids.append(step["id"])


def test_a_seed_gives_the_same_text_again(ready):
    options = dict(maxTokens=40, sampling={"temperature": 1.0})
    first, again = (generated(ready, [END], seed=5, **options) for _ in range(2))
    assert first == again
    assert generated(ready, [END], seed=6, **options) != first


def test_going_on_equals_writing_at_once(ready):
    """Reprendre après 20 tokens, cache gardé, donne le même texte que 40 d’un coup."""
    greedy = {"temperature": None}
    whole = generated(ready, [END, 300], maxTokens=40, sampling=greedy)
    first = generated(ready, [END, 300], maxTokens=20, sampling=greedy)
    rest = generated(ready, [END, 300, *first], maxTokens=20, sampling=greedy)
    assert first + rest == whole


def test_attention_of_the_page(ready, model):
    ids = [END, 300, 301, 302, 303]
    got = ready.evaluate(
        "async (ids) => { const a = await window.model.attention(ids); return {...a, data: [...a.data]}; }",
        ids,
    )
    theirs = model.to_hf()
    theirs.set_attn_implementation("eager")
    with torch.no_grad():
        expected = torch.cat(theirs(torch.tensor([ids]), output_attentions=True).attentions)
    assert [got["layers"], got["heads"], got["length"]] == list(expected.shape[:3])
    found = torch.tensor(got["data"]).view_as(expected)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("model.generate([]).next()", "0 tokens"),
        ("model.generate([5000]).next()", "token 5000"),
        ("model.generate([0], {maxTokens: 0}).next()", "maxTokens=0"),
        ("model.generate([0], {sampling: {topP: 2}}).next()", "topP=2"),
        ("model.attention(Array(600).fill(1))", "600 tokens"),
    ],
)
def test_wrong_calls_say_what_to_change(ready, call, message):
    found = ready.evaluate(
        f"async () => {{ try {{ await window.{call}; }} catch (e) {{ return [e.name, e.message]; }} }}"
    )
    assert found[0] == "RangeError" and message in found[1]
    assert generated(ready, [END, 300], maxTokens=1)  # et le modèle écrit encore


# --- sampling.js, contre Python ----------------------------------------------------------------------

LAWS = [
    ({}, {}),
    ({"temperature": 0.6}, {"temperature": 0.6}),
    ({"temperature": None}, {"temperature": None}),
    ({"topK": 7}, {"top_k": 7}),
    ({"topP": 0.8}, {"top_p": 0.8}),
    ({"topP": 0.01}, {"top_p": 0.01}),
    ({"minP": 0.1}, {"min_p": 0.1}),
    ({"minP": 1}, {"min_p": 1.0}),
    ({"repetitionPenalty": 1.4}, {"repetition_penalty": 1.4}),
    ({"temperature": None, "repetitionPenalty": 30}, {"temperature": None, "repetition_penalty": 30.0}),
    ({"temperature": 1.3, "topK": 40, "topP": 0.9, "minP": 0.02, "repetitionPenalty": 1.2},
     {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2}),
]  # fmt: skip
COMPARE = """async ([logits, settings]) => {
  const { probabilities } = await import("/_static/explorables/modele/sampling.js");
  return [...probabilities(Float32Array.from(logits), settings)];
}"""


def example(seed, size=500):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, generator=generator)
    return logits, torch.randint(size, (30,), generator=generator).tolist()


@pytest.mark.parametrize(("ours", "theirs"), LAWS)
def test_same_laws_as_python(ready, ours, theirs):
    for seed in range(4):
        logits, seen = example(seed)
        expected = Sampling(**theirs).probabilities(logits, seen)
        got = torch.tensor(
            ready.evaluate(COMPARE, [logits.tolist(), ours | {"seen": seen}]), dtype=torch.float32
        )
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
        assert torch.equal(got > 0, expected > 0)  # les mêmes tokens écartés


@pytest.mark.parametrize("mass", [0.2, 0.9])
def test_typical_is_the_one_of_the_book(ready, mass):
    for seed in range(4):
        logits, _ = example(seed)
        expected = generation_filters.typical(logits, mass).softmax(-1)
        got = ready.evaluate(COMPARE, [logits.tolist(), {"typicalP": mass}])
        got = torch.tensor(got, dtype=torch.float32)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_draws_follow_the_law(ready):
    """20 000 tirages : khi deux à 4 degrés de liberté, seuil à un millionième."""
    law = [0.4, 0.3, 0.0, 0.2, 0.05, 0.05]
    counts = ready.evaluate(
        """async (law) => {
          const { draw, seeded } = await import("/_static/explorables/modele/sampling.js");
          const random = seeded(1), counts = law.map(() => 0);
          for (let i = 0; i < 20000; i++) counts[draw(Float32Array.from(law), random)] += 1;
          return counts;
        }""",
        law,
    )
    assert counts[2] == 0
    chi2 = sum((n - 20_000 * p) ** 2 / (20_000 * p) for n, p in zip(counts, law, strict=True) if p)
    assert chi2 < 33.4


# --- la page ---------------------------------------------------------------------------------------------


def test_nothing_is_loaded_before_the_click(open_page):
    page = open_page()
    page.get_by_label("Votre amorce").fill("import ")
    page.get_by_role("button", name="une classe").click()
    page.wait_for_timeout(300)
    assert not [url for url in page.requests if "/modele/nano/" in url or "/onnxruntime/" in url]
    assert not [url for url in page.requests if "worker.js" in url]


def test_it_writes_what_python_writes(open_page, model, tokenizer):
    page = open_page()
    write(page, PROMPTS[0], tokens=64)
    wait_for(page, "repos")
    ids = [END, *tokenizer.encode(PROMPTS[0])]
    expected = generate(model, ids, max_tokens=64, temperature=None, stop=[END])
    assert written(page).count() == len(expected)
    assert tokenizer.decode(expected) in page.get_by_role("status").text_content()
    assert float(figure(page).get_attribute("data-debit")) > 0


def test_rivals_of_a_token(open_page):
    page = open_page()
    write(page, tokens=16)
    wait_for(page, "repos")
    written(page).nth(3).click()
    rows = page.locator("table.concurrents tbody tr")
    assert rows.count() == 8
    assert page.locator("tr.choisi").count() == 1
    assert written(page).nth(3).get_attribute("aria-selected") == "true"
    marks = written(page).evaluate_all("all => all.map((e) => e.className)")
    shares = written(page).evaluate_all("all => all.map((e) => e.getAttribute('aria-label'))")
    assert all("%" in share for share in shares)
    assert len(set(marks)) >= 2  # les paliers se distinguent


def test_stop_is_immediate_then_it_goes_on(open_page):
    page = open_page()
    write(page, tokens=512, greedy=False)
    written(page).nth(4).wait_for()
    page.get_by_role("button", name="Arrêter").click()
    wait_for(page, "repos", timeout=2_000)
    count = written(page).count()
    page.wait_for_timeout(400)
    assert written(page).count() == count < 512
    assert page.get_by_role("status").text_content().startswith("Arrêté.")
    set_slider(page, "Longueur", 16)
    page.get_by_role("button", name="Continuer").click()
    wait_for(page, "repos")
    assert written(page).count() == count + 16
    page.get_by_role("button", name="Effacer").click()
    assert written(page).count() == 0


def test_stop_while_loading(open_page):
    page = open_page()
    page.route("**/poids-03.bin", lambda route: None)  # ne répond jamais
    write(page, tokens=16)
    wait_for(page, "charge")
    assert page.get_by_label("Chargement du modèle").is_visible()
    page.keyboard.press("Escape")
    wait_for(page, "repos", timeout=2_000)
    page.unroute("**/poids-03.bin")
    write(page, tokens=16)
    written(page).nth(15).wait_for()


BROKEN = {
    "altéré": ("**/poids-03.bin", lambda r: r.fulfill(body=b"\0" * 2_000_000), "empreinte"),
    "coupé": ("**/poids-03.bin", lambda r: r.fulfill(body=b"\0" * 10), "empreinte"),
    "absent": ("**/poids-03.bin", lambda r: r.fulfill(status=404), "poids-03.bin manque"),
    "injoignable": ("**/graphe.onnx", lambda r: r.abort(), "hors d’atteinte"),
    "moteur": ("**/onnxruntime/manifeste.json", lambda r: r.fulfill(status=404), "npm"),
    "manifeste": ("**/nano/manifeste.json", lambda r: r.fulfill(body="{"), "manifeste"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_said_and_can_be_tried_again(open_page, case):
    pattern, answer, message = BROKEN[case]
    page = open_page()
    page.context.route(pattern, answer)
    write(page, tokens=16)
    page.locator(".souci").get_by_text("recommencer").wait_for()
    assert message in page.locator(".souci").text_content()
    assert written(page).count() == 0
    page.context.unroute(pattern)
    write(page, tokens=16)
    written(page).nth(15).wait_for()
    wait_for(page, "repos")
    assert page.locator(".souci").text_content() == ""


def test_without_webassembly(open_page):
    page = open_page("delete window.WebAssembly;")
    assert "WebAssembly" in page.locator(".souci").text_content()
    assert page.get_by_role("button", name="Écrire", exact=True).is_disabled()
    assert page.get_by_text("Repli de la figure.").is_visible()
    assert not [url for url in page.requests if "/modele/nano/" in url or "/onnxruntime/" in url]


def test_without_javascript(browser, site):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site)
    assert page.get_by_text("Repli de la figure.").is_visible()
    page.context.close()


def test_keyboard_alone(open_page):
    page = open_page()
    page.get_by_label("Votre amorce").focus()
    for _ in range(40):  # de l’amorce au bouton, à la tabulation
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Écrire":
            break
    set_slider(page, "Longueur", 16)
    page.keyboard.press("Enter")
    written(page).nth(15).wait_for()
    wait_for(page, "repos")
    assert page.evaluate("document.activeElement.textContent") == "Écrire"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "option":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert written(page).nth(2).evaluate("e => e === document.activeElement")
    page.keyboard.press("End")
    assert written(page).nth(15).evaluate("e => e === document.activeElement")
    assert written(page).evaluate_all("all => all.filter((e) => e.tabIndex === 0).length") == 1
    page.keyboard.press("Control+Enter")  # relance d’où qu’on soit
    wait_for(page, "repos")


def test_the_screen_reader_hears_once(open_page):
    """La zone annoncée change au début et à la fin, jamais à chaque token."""
    page = open_page()
    page.get_by_role("status").evaluate(
        """e => { window.changes = 0;
          new MutationObserver(() => { window.changes += 1; }).observe(e, {childList: true, subtree: true, characterData: true}); }"""
    )
    write(page, tokens=64)
    wait_for(page, "repos")
    assert page.evaluate("window.changes") <= 3
    live = page.evaluate(
        "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].length"
    )
    assert live == 2


# --- dans le livre construit ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book_page(html_root):
    for path in sorted(HTML.glob("notebooks/ch15-generation/*.html")):
        if 'data-module="ecrire"' in path.read_text(encoding="utf-8"):
            return path.relative_to(HTML).as_posix()
    absent("aucune page du livre construit ne porte l’explorable « ecrire »")


@pytest.mark.parametrize("theme", ["clair", "sombre"])
@pytest.mark.parametrize("width", [375, 1280])
def test_accessible_in_the_book(visit, axe, book_page, theme, width):
    found = visit(book_page, theme, width)
    page = found.page
    assert not [r for r in found.responses if "/modele/nano/" in r.url or "/onnxruntime/" in r.url]
    write(page, "class Point:\n    def ", tokens=64, greedy=False)
    wait_for(page, "repos")
    written(page).nth(5).click()
    page.evaluate(axe)
    result = page.evaluate("() => axe.run('.bible-explorable', {resultTypes: ['violations']})")
    serious = [v["id"] + " " + json.dumps(v["nodes"][0]["html"]) for v in result["violations"]
               if v["impact"] in ("serious", "critical")]  # fmt: skip
    assert not serious
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
