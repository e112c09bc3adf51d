"""Le tokeniseur de la page (book/_explorables/modele) donne les numéros de llmbook, dans Chromium."""

import json
import random
import shutil

import pytest

from llmbook import corpus
from llmbook.tokenizer import SPECIALS, Tokenizer
from llmbook.tokenizer_bpe import compile_pattern
from tests.navigateur.essai import ROOT, SOURCE, serve
from tests.test_tokenizer import REFUSED, edited, foreign

MODULES = SOURCE / "modele"
NANO = ROOT / "models" / "nano"
FOREIGN = ("gpt2", "llama3", "qwen2", "two")
OPEN = """async (name) => {
  const { Tokenizer } = await import("/modele/tokenizer.js");
  window.tokenizer = await Tokenizer.load(new URL(name, location.href));
}"""
# Blancs que Python et JavaScript ne comptent pas pareil, et voisins : U+0085, U+FEFF, U+001C à 1F…
BLANKS = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u200a\u200b\u2028\u202f\u3000\ufeff"
)
ODD = [
    "", " ", "é", "e\u0301te\u0301", "Ａ１²Ⅷ½٣", "ſ’s 's 'ſ 'S it's 'LL", "a\u0300\u0316b", "日本語のトークン",
    "🦜👩🏽‍🚀🇫🇷", "\x00\x7f", "\ufeffdébut", "a\ufeffb", "नमस्ते", "İıﬁǅ", "x" * 300, "ab" * 200, "=" * 150,
    "for i in range(10):\n\tprint(i)\r\n\r\n", "n’oublie pas l’été", "<|fin", "|im_start|>", "<<|fin|>>",
    *SPECIALS, "<|im_start|>système\nsois bref<|im_end|>\n<|im_start|>", "\U0010ffff\ue000",
    "__proto__ constructor toString 0 1 2",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokeniseur")
    shutil.copytree(MODULES, path / "modele")
    shutil.copytree(NANO, path / "nano", ignore=shutil.ignore_patterns("*.safetensors"))
    for name in FOREIGN:
        (path / name).mkdir()
        foreign(name).save(str(path / name / "tokenizer.json"))
    (path / "index.html").write_text("<!doctype html><title>essai</title>", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(browser, folder):
    with serve(folder) as url:
        found = browser.new_context(locale="fr-FR").new_page()
        found.goto(url)
        yield found
        found.context.close()


@pytest.fixture(scope="module")
def texts():
    """Des centaines de textes : langues, code, suites tirées de peu de caractères, octets abîmés."""
    draw = random.Random(5)
    samples = [corpus.sample(name) for name in ("python", "francais", "anglais", "bibliotheque")]
    pieces = []
    for sample in samples:
        starts = [draw.randrange(len(sample) - 400) for _ in range(40)]
        pieces += [sample[start : start + draw.randrange(1, 400)] for start in starts]
    alphabets = (
        "a1_ \t\n\ré'",
        BLANKS + "ab1.",
        "<|fin>im_startend ",
        "eéx\u0301\u0308\u20dd1½🦜",
        *(SPECIALS,) * 2,
    )
    pieces += ["".join(draw.choices(alphabets[i % 6], k=draw.randrange(40))) for i in range(180)]
    pieces += [draw.randbytes(draw.randrange(30)).decode("utf-8", "replace") for _ in range(60)]
    everywhere = [chr(c) for c in range(0x3000) if chr(c).isprintable()]
    pieces += ["".join(draw.choices(everywhere, k=30)) for _ in range(60)]
    return ODD + pieces


@pytest.mark.parametrize("specials", [False, True])
@pytest.mark.parametrize("name", ["nano", *FOREIGN])
def test_same_ids_as_python(page, folder, texts, name, specials):
    ours = Tokenizer.from_pretrained(folder / name)
    page.evaluate(OPEN, name)
    code = "([texts, specials]) => texts.map((text) => window.tokenizer.encode(text, { specials }))"
    found = page.evaluate(code, [texts, specials])
    assert len(texts) > 400
    for text, ids in zip(texts, found, strict=True):
        assert ids == ours.encode(text, specials=specials), repr(text)


@pytest.mark.parametrize("name", ["nano", "llama3"])
def test_round_trip_and_pieces(page, texts, name):
    page.evaluate(OPEN, name)
    back = page.evaluate(
        "(texts) => texts.map((t) => window.tokenizer.decode(window.tokenizer.encode(t)))", texts
    )
    assert back == texts
    pieces = page.evaluate(
        "(texts) => texts.map((t) => window.tokenizer.pieces(t).map((p) => [...p.bytes]))", texts
    )
    assert [bytes(sum(found, [])) for found in pieces] == [text.encode() for text in texts]


def test_any_ids_decode_like_python(page):
    """Des numéros au hasard : leurs octets ne font souvent pas un texte."""
    ours, draw = Tokenizer.from_pretrained(NANO), random.Random(7)
    page.evaluate(OPEN, "nano")
    # Les octets, numéros 4 à 259, y reviennent souvent : chaque « � » doit tomber au même endroit.
    lists = [
        [draw.choice([draw.randrange(4096), draw.randrange(4, 260)]) for _ in range(40)]
        for _ in range(200)
    ]
    lists.append([4095, *range(260), 0])
    assert page.evaluate("(all) => all.map((ids) => window.tokenizer.decode(ids))", lists) == [
        ours.decode(ids) for ids in lists
    ]
    assert page.evaluate("window.tokenizer.endId") == ours.fin
    assert page.evaluate("window.tokenizer.vocabSize") == ours.vocab_size


EVERY = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF)
MATCHING = """async ([pattern, every]) => {
  const { compilePattern } = await import("/modele/tokenizer-json.js");
  const regex = new RegExp(`(?:${compilePattern(pattern).source})+`, "gu");
  return Array.from(every.matchAll(regex), (match) => match[0]).join("");
}"""


def matching(page, pattern):
    """Les caractères que ce motif, traduit, reconnaît dans la page."""
    return set(page.evaluate(MATCHING, [pattern, EVERY]))


def in_python(pattern):
    return set("".join(compile_pattern(f"(?:{pattern})+").findall(EVERY)))


@pytest.mark.parametrize("pattern", [r"\s", r"[^\S]", r".", r"[\r\n\s]", r"(?i:[sk])", r"(?i:s|d)"])
def test_translated_pattern_matches_the_same_characters(page, pattern):
    assert matching(page, pattern) == in_python(pattern)


@pytest.fixture(scope="module")
def unknown(page):
    """Les caractères que l’Unicode de la page, ou celui de Python, n’attribue pas encore."""
    return matching(page, r"\p{Cn}") | in_python(r"\p{Cn}")


@pytest.mark.parametrize("kind", ["L", "M", "N"])
def test_letters_are_those_of_python_where_both_know_them(page, unknown, kind):
    """Seuls diffèrent des caractères qu’une version plus ancienne d’Unicode ne connaît pas."""
    differing = matching(page, rf"\p{{{kind}}}") ^ in_python(rf"\p{{{kind}}}")
    assert differing <= unknown


def test_steps_apply_one_merge_at_a_time(page):
    ours = Tokenizer.from_pretrained(NANO)
    page.evaluate(OPEN, "nano")
    states = page.evaluate("window.tokenizer.steps(' tokenisation')")
    assert states[-1]["ids"] == ours.encode(" tokenisation")
    assert len(states[0]["ids"]) == 13 and states[0]["rank"] is None
    ranks = [state["rank"] for state in states[1:]]
    assert all(ours.decode_bytes(state["ids"]) == b" tokenisation" for state in states)
    for before, after, rank in zip(states, states[1:], ranks, strict=False):
        assert len(after["ids"]) == len(before["ids"]) - 1
        pairs = zip(before["ids"], before["ids"][1:], strict=False)
        assert ours.merges[rank] in set(pairs)
        known = [
            ours.merges.index(p)
            for p in zip(before["ids"], before["ids"][1:], strict=False)
            if p in ours.merges
        ]
        assert rank == min(known)
    new = states[1]["ids"][-1] if states[1]["ids"][-1] > 259 else max(states[1]["ids"])
    assert page.evaluate("(id) => window.tokenizer.rank(id)", new) == new - 260
    assert page.evaluate("[0, 10].map((id) => window.tokenizer.rank(id))") == [None, None]


def test_a_very_long_word_is_not_quadratic(page):
    """Quadratique, ce mot demanderait des minutes."""
    page.evaluate(OPEN, "nano")
    word = "selfab" * 30_000
    ids = page.evaluate("(word) => window.tokenizer.encode(word)", word)
    assert ids == Tokenizer.from_pretrained(NANO).encode(word)


# Refuser clairement

PARSE = """async (text) => {
  const { Tokenizer } = await import("/modele/tokenizer.js");
  try { Tokenizer.parse(text); return "accepté"; } catch (error) { return error.message; }
}"""


@pytest.mark.parametrize("message", REFUSED)
def test_files_python_refuses_are_refused(page, tmp_path, message):
    path = edited(NANO, tmp_path, REFUSED[message]) / "tokenizer.json"
    answer = page.evaluate(PARSE, path.read_text(encoding="utf-8"))
    assert message.lower() in answer.lower()


@pytest.mark.parametrize("text", ["{", "null", "[]", '{"model": {"vocab": {}}}', "<html>"])
def test_broken_file(page, text):
    assert "abîmé" in page.evaluate(PARSE, text)


@pytest.mark.parametrize("pattern", [r"\w+", r"a$", r"\bx", r"x++"])
def test_pattern_the_page_would_read_otherwise_is_refused(page, pattern):
    document = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    assert "découpe" in page.evaluate(PARSE, json.dumps(document))


def test_bad_input(page):
    page.evaluate(OPEN, "nano")
    code = "(code) => { try { return eval(code); } catch (error) { return error.message; } }"
    for text, message in [
        ("window.tokenizer.encode(12)", "attend un texte"),
        ("window.tokenizer.encode('a\\ud800')", "demi-caractère"),
        ("window.tokenizer.decode([65, 4096])", "de 0 à 4095"),
        ("window.tokenizer.decode([-1])", "hors du vocabulaire"),
    ]:
        assert message in page.evaluate(code, text)
    missing = page.evaluate(
        'async () => (await import("/modele/tokenizer.js")).Tokenizer.load("/absent").catch((e) => e.message)'
    )
    assert "introuvable" in missing
