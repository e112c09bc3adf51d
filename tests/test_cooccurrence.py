"""llmbook.cooccurrence, comparé à un décompte naïf et à la définition."""

import numpy as np
import pytest

from llmbook.cooccurrence import cooccurrence_counts, identifier_words, ppmi, vocabulary
from llmbook.corpus import sample
from llmbook.maths import cosine_similarity

CODE = '''
class HTTPServer(socketserver.TCPServer):  # un commentaire
    """Une docstring qui parle d'une apostrophe."""
    def read_lines(self, x, maxSize=0x10):
        return open('chemin "cité"').readline(b"a\\"b") + """ "long" """
'''


def test_identifier_words():
    assert identifier_words(CODE) == [
        "http",
        "server",
        "socketserver",
        "tcp",
        "server",
        "read",
        "lines",
        "max",
        "size",
        "open",
        "readline",
    ]
    everything = identifier_words(CODE, comments=True)
    assert {"commentaire", "docstring", "chemin", "long"} <= set(everything)
    assert identifier_words("") == []


def test_vocabulary_is_ranked_then_alphabetical():
    words = "b a c a b d a".split()
    assert vocabulary(words, 3) == ["a", "b", "c"]
    assert vocabulary(words, 10, min_count=2) == ["a", "b"]
    with pytest.raises(ValueError, match="assez fréquent"):
        vocabulary([], 3)
    with pytest.raises(ValueError, match="size=0"):
        vocabulary(words, 0)


def naive_counts(words, vocab, window):
    counts = np.zeros((len(vocab), len(vocab)))
    for i, center in enumerate(words):
        for j in range(max(0, i - window), min(len(words), i + window + 1)):
            if i != j and center in vocab and words[j] in vocab:
                counts[vocab.index(center), vocab.index(words[j])] += 1
    return counts


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_counts_equal_a_naive_count(window):
    words = list(np.random.default_rng(window).choice(list("abcdefg"), size=60))
    vocab = vocabulary(words, 5)
    counts = cooccurrence_counts(words, vocab, window)
    np.testing.assert_array_equal(counts, naive_counts(words, vocab, window))
    np.testing.assert_array_equal(counts, counts.T)


def test_ppmi_equals_its_definition():
    counts = np.random.default_rng(0).integers(0, 5, size=(6, 4)).astype(float)
    counts[2] = 0  # un mot jamais vu
    result = ppmi(counts)
    p = counts / counts.sum()
    for (w, c), joint in np.ndenumerate(p):
        expected = max(0, np.log(joint / (p[w].sum() * p[:, c].sum()))) if joint else 0
        assert result[w, c] == pytest.approx(expected, abs=1e-12)
    p = np.outer([0.2, 0.8], [0.5, 0.5])
    np.testing.assert_allclose(ppmi(p), 0, atol=1e-12)  # indépendance : rien à dire


def test_smoothing_lowers_rare_contexts():
    counts = np.array([[90.0, 1], [90, 0], [0, 1]])
    assert ppmi(counts, 0.75)[2, 1] < ppmi(counts)[2, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cooccurrence_counts(["a"], ["a"], 0), "window=0"),
        (lambda: cooccurrence_counts(["a"], []), "vocabulaire"),
        (lambda: cooccurrence_counts(["a"], ["a", "a"]), "doublon"),
        (lambda: ppmi([1, 2]), "matrice"),
        (lambda: ppmi(np.zeros((2, 2))), "non tous nuls"),
        (lambda: ppmi([[-1, 2]]), "positifs"),
        (lambda: ppmi([[np.nan, 2]]), "finis"),
        (lambda: ppmi([[1, 2]], alpha=0), "alpha=0"),
    ],
)
def test_bad_inputs(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_neighbours_in_the_library_make_sense():
    words = identifier_words(sample("bibliotheque"))
    vocab = vocabulary(words, 1500)
    vectors = ppmi(cooccurrence_counts(words, vocab))

    def nearest(word, k=10):
        similarity = cosine_similarity(vectors, vectors[vocab.index(word)])
        return {vocab[i] for i in np.argsort(-similarity)[1 : k + 1]}

    assert {"sock", "family"} <= nearest("socket")
    assert {"year", "day"} <= nearest("month")
    assert {"list"} <= nearest("tuple")
