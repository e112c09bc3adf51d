"""Tout texte écrit sous contrainte la satisfait, même d’un modèle tiré au hasard."""

import json
import random
import re

import pytest

torch = pytest.importorskip("torch")

from llmbook.generation_automata import LAST, utf8_ranges  # noqa: E402
from llmbook.generation_constrained import IMPOSSIBLE, TokenMasks, constrained  # noqa: E402
from llmbook.generation_json import JsonAutomaton  # noqa: E402
from llmbook.generation_regex import compile_regex  # noqa: E402
from llmbook.generation_schema import schema_to_regex  # noqa: E402
from llmbook.model import LanguageModel, ModelConfig  # noqa: E402

EOS = 0
WORDS = [
    "true",
    "false",
    "null",
    '":',
    '", "',
    "é",
    "€",
    "{}",
    "[[",
    "12",
    "abc",
    "\\n",
    " if",
    "0}",
]
TOKENS = (
    [b"<|fin|>"]
    + [bytes([b]) for b in range(256)]
    + [w.encode() for w in WORDS]
    + [b"\xc3\xa9\xe2", b""]
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    shape = dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_ff=16, context=300)
    model = LanguageModel(ModelConfig(len(TOKENS), **shape)).eval()
    with torch.no_grad():
        model.embed.weight.normal_()
    return model


def texts(model, automaton, n=25, max_tokens=40, **options):
    masks = TokenMasks(automaton, TOKENS, EOS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(n):
        ids = constrained(
            model, [EOS], masks, max_tokens=max_tokens, generator=generator, **options
        )
        assert EOS not in ids and len(ids) <= max_tokens
        yield b"".join(TOKENS[i] for i in ids).decode()


PATTERNS = [
    r"(oui|non|peut-être)",
    r"\d{4}-(0[1-9]|1[0-2])-\d\d",
    r"[a-z_]\w*\((\w+(, \w+)*)?\)",
    r"a{2,4}b{3,}c?",
    r"[^\d\s]+é[à-ü]*",
    r".{3}\.{2}",
    r"(ab|a)(bc|c)?",
    r"x*(yz*)+|",
    r"[]a^-]+[^]x]",
    r"(a|b)*abb",
    r"\D\W\S\w",
    r"(?:a?){3}a{3}",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_is_always_matched(model, pattern):
    for text in texts(model, compile_regex(pattern), n=12, temperature=2.0):
        assert re.fullmatch(pattern, text, re.ASCII), text


def matches(dfa, text: str) -> bool:
    state = dfa.start
    for byte in text.encode():
        state = dfa.step(state, byte)
        if state is None:
            return False
    return dfa.accepts(state)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_accepts_what_re_accepts(pattern):
    """Des textes tirés au hasard des caractères du motif : mêmes réponses que re.fullmatch."""
    rng = random.Random(0)
    dfa = compile_regex(pattern)
    alphabet = sorted(set(re.sub(r"\\.|\W", "", pattern) + "ab0-_ ,.(é\n€𝄞]^x"))
    found = set()
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(8)))
        expected = re.fullmatch(pattern, text, re.ASCII) is not None
        assert matches(dfa, text) == expected, text
        found.add(expected)
    assert False in found


def test_utf8_ranges_are_exactly_the_encodings():
    rng = random.Random(0)
    edges = [0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, LAST]
    for _ in range(200):
        low, high = sorted((rng.choice(edges), rng.randrange(LAST + 1)))
        sequences = utf8_ranges(low, high)

        def covered(code, sequences=sequences):
            text = chr(code).encode()
            return sum(
                len(s) == len(text) and all(a <= b <= c for (a, c), b in zip(s, text, strict=True))
                for s in sequences
            )

        for code in {low, high, *(rng.randrange(LAST + 1) for _ in range(20)), *edges}:
            if not 0xD800 <= code <= 0xDFFF:
                assert covered(code) == (low <= code <= high)


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[a", "*a", "a**", "a{3,1}", "a{x}", "^a", "[z-a]", "(?=a)", "\\q", "a\\"],
)
def test_bad_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="expression"):
        compile_regex(pattern)


def test_huge_automata_are_refused():
    with pytest.raises(ValueError, match="états"):
        compile_regex("((a{100}){100}){100}")


@pytest.mark.parametrize("container", [False, True])
def test_json_is_always_valid(model, container):
    options = dict(container=container, max_depth=4)
    for budget in (4, 12, 60):
        for text in texts(model, JsonAutomaton(**options), 10, budget, temperature=1.5):
            assert isinstance(json.loads(text), list | dict) or not container


def test_json_automaton_accepts_what_json_accepts():
    """Des textes JSON abîmés au hasard : mêmes réponses que json.loads."""
    rng = random.Random(0)
    automaton = JsonAutomaton()
    good = [
        '{"a": [1, -2.5e+3, {"b": null}], "é€𝄞": "\\u00e9\\n"}', "[]", "{}", " [true,false]",
        "0", "-0.1E5", '""', '[[],{"":{}}]', '"\\\\\\"/"', "[1 , 2\t]",
    ]  # fmt: skip
    seen = set()
    for _ in range(4000):
        text = list(rng.choice(good))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(text) + 1)
            text[at : at + rng.randrange(2)] = rng.choice(
                ['"', "{", "}", "[", "]", ",", ":", "0", "e", ".", "-", "\\", "u", "\x01", ""]
            )
        text = "".join(text)
        try:
            json.loads(text)
            expected = text == text.rstrip()  # rien ne suit la valeur de tête
        except ValueError:
            expected = False
        assert matches(automaton, text) == expected, text
        seen.add(expected)
    assert seen == {True, False}


def test_json_ending_really_ends():
    """De tout état, ending() mène à la fin, et raccourcit d’un octet à chaque pas."""
    rng = random.Random(1)
    for container in (False, True):
        automaton = JsonAutomaton(container, max_depth=5)
        for _ in range(300):
            state = automaton.start
            for _ in range(rng.randrange(25)):
                choices = [s for b in range(256) if (s := automaton.step(state, b)) is not None]
                state = rng.choice(choices) if choices else state
            ending = automaton.ending(state)
            while ending:
                state = automaton.step(state, ending[0])
                ending = ending[1:]
                assert automaton.ending(state) == ending
            assert automaton.accepts(state)


def test_lone_surrogates_and_bad_utf8_are_forbidden():
    automaton = JsonAutomaton()
    assert not matches(automaton, '"\\ud800"') and not matches(automaton, '"\\uDFFF"')
    assert matches(automaton, '"\\ud7ff\\ue000"')
    for bad in (b'"\x80"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"'):
        state = automaton.start
        for byte in bad:
            state = automaton.step(state, byte) if state is not None else None
        assert state is None


SCHEMA = {
    "type": "object",
    "properties": {
        "nom": {"type": "string", "minLength": 1, "maxLength": 8},
        "âge": {"type": "integer"},
        "taille": {"type": "number"},
        "ville": {"enum": ["Lyon", "Nîmes", 3, None]},
        "notes": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        "libre": {"anyOf": [{"type": "null"}, {"const": {"a": [1]}}]},
    },
    "required": ["nom"],
}


def test_schema_is_always_satisfied(model):
    jsonschema = pytest.importorskip("jsonschema")
    automaton = compile_regex(schema_to_regex(SCHEMA))
    for text in texts(model, automaton, 12, 140, temperature=1.5):
        value = json.loads(text)
        jsonschema.validate(value, SCHEMA)
        assert list(value) == list(SCHEMA["properties"])


@pytest.mark.parametrize(
    "schema, message",
    [
        ({"type": "string", "minLength": 3, "maxLength": 2}, "contradictoires"),
        ({"enum": ["a"], "const": "b"}, "contradictoires"),
        ({"type": "string", "enum": [1]}, "contradictoires"),
        ({"enum": []}, "vide"),
        ({"type": "object", "required": ["x"]}, "x"),
        ({"$ref": "#"}, "type None"),
        ({"type": "integer", "minimum": 3}, "minimum"),
        ([], "dict"),
    ],
)
def test_bad_schemas_are_refused(schema, message):
    with pytest.raises(ValueError, match=message):
        schema_to_regex(schema)


def test_two_constraints_together(model):
    both = compile_regex(r"[a-z]+\d") & compile_regex(r".{4}")
    for text in texts(model, both, n=8):
        assert re.fullmatch(r"[a-z]{3}\d", text)
    with pytest.raises(ValueError, match="contradictoires"):
        compile_regex("a+") & compile_regex("b+")


def test_impossible_constraints_are_refused(model):
    date = compile_regex(r"\d{4}-\d\d")
    with pytest.raises(ValueError, match="max_tokens=6"):
        constrained(model, [EOS], TokenMasks(date, TOKENS, EOS), max_tokens=6)
    letters = [b"", b"a", b"b", b"ab"]
    for automaton in (compile_regex("c"), JsonAutomaton()):
        with pytest.raises(ValueError, match="vocabulaire"):
            TokenMasks(automaton, letters, EOS)
    with pytest.raises(ValueError, match="eos"):
        TokenMasks(date, TOKENS, len(TOKENS))
    with pytest.raises(ValueError, match="tokeniseur du modèle"):
        masks = TokenMasks(date, [*TOKENS, b"x"], EOS)
        constrained(model, [EOS], masks, max_tokens=9)


def test_masks_allow_exactly_the_tokens_that_can_be_finished():
    """Par force brute : un token est permis si ses octets, un par un, le sont."""
    automaton = compile_regex(r'("é"|€|12*)[abc]{3}')
    masks = TokenMasks(automaton, TOKENS, EOS, forbidden=[TOKENS.index(b"abc")])
    states = [automaton.start, masks.advance(automaton.start, TOKENS.index("€".encode()))]
    for state in states:
        cost = masks.cost(state)
        assert cost is masks.cost(state)  # en cache
        for token, text in enumerate(TOKENS):
            after = state if text and token != EOS else None
            for byte in text:
                after = None if after is None else automaton.step(after, byte)
            allowed = after is not None and text != b"abc"
            assert (cost[token] != IMPOSSIBLE) == allowed


def test_greedy_and_fast_decoders_work_under_constraint(model):
    from llmbook.generation_fast import FastDecoder

    masks = TokenMasks(JsonAutomaton(container=True), TOKENS, EOS)
    options = dict(max_tokens=30, temperature=None, repetition_penalty=1.1)
    simple = constrained(model, [5, 6], masks, **options)
    assert constrained(model, [5, 6], masks, decoder=FastDecoder(model), **options) == simple
    json.loads(b"".join(TOKENS[i] for i in simple))
