"""llmbook.ngrams : des lois de somme 1, la formule de Witten et Bell, un modèle utile."""

import itertools

import numpy as np
import pytest

from llmbook.corpus import sample
from llmbook.ngrams import MAX_ORDER, UNKNOWN, NgramModel, ngram_counts

TEXT = sample("python")[:30_000]


def test_ngram_counts():
    assert ngram_counts("abab", 2) == {"ab": 2, "ba": 1}
    assert ngram_counts("a", 2) == {}
    with pytest.raises(ValueError, match="n=0"):
        ngram_counts("abc", 0)


@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_prob_is_a_positive_distribution(order):
    model = NgramModel(TEXT, order)
    for context in ("", "d", "def ", "self.", "jamais vu : é", "\n    return", UNKNOWN):
        p = model.prob(context)
        assert p.shape == (len(model.alphabet),)
        assert (p > 0).all() and p.sum() == pytest.approx(1, abs=1e-12)


def test_witten_bell_by_hand():
    """Sur « abab » : T(h) suites différentes partagent avec l’ordre inférieur."""
    model = NgramModel("abab", order=2)
    assert model.alphabet == ["a", "b", UNKNOWN]
    p1 = (np.array([2, 2, 0]) + 2 * np.full(3, 1 / 3)) / (4 + 2)
    np.testing.assert_allclose(model.prob(""), p1)
    np.testing.assert_allclose(model.prob("a"), ([0, 2, 0] + 1 * p1) / (2 + 1))
    np.testing.assert_allclose(model.prob("b"), ([1, 0, 0] + 1 * p1) / (1 + 1))
    np.testing.assert_allclose(model.prob("éa"), model.prob("a"))
    np.testing.assert_allclose(model.prob("é"), p1)


def test_surprisals_agree_with_prob():
    model = NgramModel(TEXT, 4)
    text = "def f(x):\n    retùrn x"
    expected = [
        -np.log2(model.prob(text[:i])[model.index.get(char, model.index[UNKNOWN])])
        for i, char in enumerate(text.replace("ù", UNKNOWN))
    ]
    np.testing.assert_allclose(model.surprisals(text), expected)
    assert model.bits_per_character(text) == pytest.approx(np.mean(expected))


def test_probability_of_all_texts_of_a_length_sums_to_one():
    model = NgramModel("abracadabra", 3)
    texts = ("".join(chars) for chars in itertools.product(model.alphabet, repeat=3))
    assert sum(2.0 ** -model.surprisals(text).sum() for text in texts) == pytest.approx(1)


def test_longer_context_predicts_better_up_to_a_point():
    text = sample("python")
    train, held_out = text[:300_000], text[300_000:320_000]
    bits = [NgramModel(train, order).bits_per_character(held_out) for order in range(1, 6)]
    assert bits == sorted(bits, reverse=True)
    assert bits[0] > 4 and 1.5 < bits[-1] < 3


def test_sampling_follows_the_law():
    model = NgramModel("ab" * 50 + "ac" * 50, 2)
    rng = np.random.default_rng(0)
    draws = [model.sample(1, rng, prompt="a") for _ in range(3000)]
    p = dict(zip(model.alphabet, model.prob("a"), strict=True))
    for char in "abc":
        frequency = draws.count(char) / len(draws)
        expected = p[char] / (1 - p[UNKNOWN])
        assert abs(frequency - expected) < 4 * np.sqrt(expected / len(draws))


def test_sampling_is_repeatable_cold_when_asked_and_never_unknown():
    model = NgramModel(TEXT, 5)
    draw = model.sample(200, np.random.default_rng(3), "def ")
    assert draw == model.sample(200, np.random.default_rng(3), "def ")
    assert len(draw) == 200 and UNKNOWN not in draw
    cold = model.sample(20, np.random.default_rng(0), "self", temperature=1e-3)
    assert cold == model.sample(20, np.random.default_rng(1), "self", temperature=1e-3)
    assert model.sample(0, np.random.default_rng(0)) == ""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: NgramModel(""), "vide"),
        (lambda model: NgramModel("abc", 0), "order=0"),
        (lambda model: NgramModel("abc", MAX_ORDER + 1), "order=7"),
        (lambda model: model.bits_per_character(""), "vide"),
        (lambda model: model.sample(-1, np.random.default_rng()), "length=-1"),
        (lambda model: model.sample(1, np.random.default_rng(), temperature=0), "temperature=0"),
    ],
)
def test_bad_inputs(call, words):
    with pytest.raises(ValueError, match=words):
        call(NgramModel("abc"))
