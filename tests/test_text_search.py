"""Chercher des textes : documents, BM25, rangs, intervalles, fusion ; les questions du livre."""

import math

import numpy as np
import pytest

from llmbook import corpus
from llmbook import text_search as ts
from llmbook.search_queries import queries

SOURCE = '''
"""Module."""
class Pile:
    """Une pile de quatre mots. Et une suite."""
    def push(self):
        """Ajoute un élément en
        haut de la pile.

        Second paragraphe."""
    def _secret(self):
        """Cette méthode privée ne compte pas."""
def push(x):
    """Ajoute un élément en haut de la pile."""
def court():
    """Trop court."""
'''
TEXTS = ["open a file", "close the open file now", "list of files", "read a list of numbers"]


def test_documents_are_public_first_sentences_merged():
    docs = ts.documents(SOURCE)
    assert [doc.text for doc in docs] == ["Une pile de quatre mots",
                                          "Ajoute un élément en haut de la pile"]  # fmt: skip
    assert docs[1].names == ("Pile.push", "push")


def test_spoken_name():
    assert ts.spoken_name("HTTPServer.get_request") == "http server get request"


def brute(query, texts, k1, b):
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)
    row = []
    for words in split:
        total = 0.0
        for word in query.split():
            n, f = sum(word in other for other in split), words.count(word)
            if f:
                idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
                total += idf * f * (k1 + 1) / (f + k1 * (1 - b + b * len(words) / mean))
        row.append(total)
    return row


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.0), (0.0, 1.0)])
def test_bm25_equals_the_formula(k1, b):
    questions = ["open list", "file file", "nothing known"]
    mine = ts.BM25(TEXTS, k1, b, tokenize=str.split).scores(questions)
    np.testing.assert_allclose(mine, [brute(q, TEXTS, k1, b) for q in questions], atol=1e-9)


def test_rare_words_weigh_more_and_length_costs():
    index = ts.BM25(["a a b", "a c", "a c d d d d"], tokenize=str.split)
    scores = index.scores(["a", "b", "c"])
    assert scores[1].max() > scores[0].max()
    assert scores[2, 1] > scores[2, 2] > 0 == scores[2, 0]


def test_bad_bm25_is_said():
    with pytest.raises(ValueError, match="aucun document"):
        ts.BM25([])
    with pytest.raises(ValueError, match="b entre 0 et 1"):
        ts.BM25(TEXTS, b=1.5)


def test_ranks_take_the_best_answer_and_share_ties():
    scores = np.array([[3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 5.0, 5.0, 1.0]])
    ranks = ts.first_ranks(scores, [{1, 2}, {0}, {2}])
    assert ranks.tolist() == [2, 2.5, 1.5]
    assert ts.recall_at(ranks, 2) == pytest.approx(2 / 3)
    assert ts.reciprocal_rank(ranks) == pytest.approx((1 / 2 + 1 / 2.5 + 1 / 1.5) / 3)
    with pytest.raises(ValueError, match="aucun document admis"):
        ts.first_ranks(scores[:1], [set()])


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(60):
        low, high = ts.bootstrap(rng.exponential(size=80), draws=500, seed=seed)
        inside += low < 1 < high
    assert inside >= 51  # 95 % annoncés
    assert ts.bootstrap(np.full(9, 0.3)) == pytest.approx((0.3, 0.3))


def test_fusion_ignores_scales():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 8))
    np.testing.assert_allclose(ts.fuse(a, b), ts.fuse(np.exp(5 * a), 100 * b - 7))
    assert ts.fuse(a)[0].argmax() == a[0].argmax()
    assert ts.fuse(a).max() == pytest.approx(1 / 61)


def test_every_question_has_an_answer_in_the_library():
    names = {name for doc in ts.documents(corpus.sample("bibliotheque")) for name in doc.names}
    asked = queries()
    assert len(asked) == len({query.english for query in asked}) == 49
    assert all(query.answers <= names | {"lru_cache"} and query.answers & names for query in asked)
    assert all(query.french and query.french != query.english for query in asked)
