"""word2vec et GloVe : gradients, lois de tirage, factorisation de la PMI, données de la carte."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics.pairwise import cosine_similarity

from llmbook import cooccurrence, corpus
from llmbook import word_vectors as wv

MAP = Path(__file__).resolve().parents[1] / "book" / "_explorables" / "carte-plongements.json"


def leaves(*shapes):
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_loss_is_binary_cross_entropy():
    u, v, n = leaves((5, 8), (5, 8), (3, 8))
    scores = torch.cat([(u * v).sum(1, keepdim=True), u @ n.T], dim=1)
    answers = torch.zeros_like(scores)
    answers[:, 0] = 1
    theirs = F.binary_cross_entropy_with_logits(scores, answers, reduction="none").sum(1)
    torch.testing.assert_close(wv.sgns_loss(u, v, n), theirs)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_gradients_equal_autograd(weight):
    u, v, n = leaves((5, 8), (5, 8), (3, 8))
    wv.sgns_loss(u, v, n, weight).sum().backward()
    for mine, leaf in zip(wv.sgns_gradients(u, v, n, weight), (u, v, n), strict=True):
        torch.testing.assert_close(mine, leaf.grad)


def test_row_adagrad_adds_repeated_rows_and_leaves_the_others():
    rows = torch.ones(4, 3)
    wv.RowAdagrad(rows, 0.1).step(torch.tensor([1, 1, 2]), torch.ones(3, 3))
    assert torch.equal(rows[[0, 3]], torch.ones(2, 3))
    torch.testing.assert_close(rows[1], torch.full((3,), 0.9))  # g / |g|, quel que soit |g|
    torch.testing.assert_close(rows[2], torch.full((3,), 0.9))


def test_pairs_equal_cooccurrence_counts():
    words = [f"m{i}" for i in np.random.default_rng(0).integers(0, 9, size=200)]
    vocab = cooccurrence.vocabulary(words, size=9)
    left, right = wv.window_pairs(wv.word_ids(words, vocab), 3)
    table = np.zeros((9, 9))
    np.add.at(table, (left, right), 1)
    assert (table == cooccurrence.cooccurrence_counts(words, vocab, 3)).all()


def test_keep_and_noise_laws():
    counts = np.array([1000, 100, 1])
    assert (wv.keep_probability(counts, 0) == 1).all()
    keep = wv.keep_probability(counts, 1e-2)
    assert (np.diff(keep) > 0).all() and keep[-1] == 1
    flat, raw = wv.noise_law(counts, 0), wv.noise_law(counts, 1)
    np.testing.assert_allclose(flat, 1 / 3)
    np.testing.assert_allclose(raw, counts / counts.sum())
    assert raw[2] < wv.noise_law(counts, 0.75)[2] < flat[2]


def test_training_finds_two_topics_and_is_reproducible():
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.integers(0, 5, 40) + 5 * topic for topic in rng.integers(0, 2, 150)])
    config = wv.SkipGramConfig(dim=8, epochs=4, batch_size=256, threshold=0)
    vectors, _, losses = wv.skip_gram(ids, 10, config)
    assert losses[0] == pytest.approx(6 * np.log(2), rel=1e-4) and losses[-1] < losses[0]
    near = wv.neighbours(vectors, 4)
    assert all(set(row) == set(range(5)) - {i} for i, row in enumerate(near[:5]))
    assert (vectors == wv.skip_gram(ids, 10, config)[0]).all()
    assert (vectors != wv.skip_gram(ids, 10, config, seed=1)[0]).any()


def test_without_negatives_every_vector_collapses():
    ids = np.random.default_rng(0).integers(0, 50, 20_000)
    config = wv.SkipGramConfig(dim=8, negatives=0, threshold=0, epochs=2)
    vectors, _, losses = wv.skip_gram(ids, 50, config)
    assert losses[-1] < 0.02
    assert cosine_similarity(vectors).min() > 0.9


def test_glove_fits_a_low_rank_table():
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(12, 2)) @ rng.normal(size=(2, 12)) + rng.normal(size=(12, 1)) + 3
    vectors, losses = wv.glove(np.exp(logs), dim=4, epochs=400, learning_rate=0.2, batch_size=36)
    assert vectors.shape == (12, 4)
    assert losses[-1] < 0.02 * losses[0]


def test_neighbours_equal_sklearn():
    vectors = np.random.default_rng(0).normal(size=(700, 5))  # deux blocs de lignes
    scores = cosine_similarity(vectors)
    np.fill_diagonal(scores, -np.inf)
    assert (wv.neighbours(vectors, 3) == np.argsort(-scores, axis=1)[:, :3]).all()
    assert (wv.neighbours(vectors, 3, [4, 2]) == np.argsort(-scores[[4, 2]], axis=1)[:, :3]).all()
    assert wv.shared_neighbours(np.array([[1, 2, 3]]), np.array([[3, 9, 1]])) == pytest.approx(
        2 / 3
    )


def test_analogies_with_and_without_exclusion():
    vectors = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1.2, 1], [-1, 0, 0]], dtype=float)
    question = np.array([[0, 1, 2]])
    assert wv.analogies(vectors, question) == 3
    close = vectors.copy()
    close[1] = [1, 0.05, 0]  # b presque égal à a
    assert wv.analogies(close, question, exclude=False) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dim": 0}, "dim=0"), ({"negatives": -1}, "negatives=-1"), ({"shared": 0}, "shared=0")],
)
def test_bad_settings_are_said(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        wv.SkipGramConfig(**options)


def test_bad_inputs_are_said():
    with pytest.raises(ValueError, match="numéros de 0 à 3"):
        wv.skip_gram(np.array([0, 1, 2, 3, 4, 0, 1]), 4)
    with pytest.raises(ValueError, match="table carrée"):
        wv.glove(np.zeros((3, 3)))


@pytest.mark.lent
def test_the_map_is_the_one_of_the_page():
    """Les mots et les voisins de la figure sont ceux qu’un apprentissage neuf retrouve."""
    data = json.loads(MAP.read_text("utf-8"))
    words = re.findall(r"[a-z]{2,}", corpus.sample("bibliotheque").lower())
    vocab = cooccurrence.vocabulary(words, size=1500)
    assert data["mots"] == vocab[60:460]
    torch.set_num_threads(1)
    vectors = wv.skip_gram(wv.word_ids(words, vocab), 1500)[0][60:460]
    fresh = wv.neighbours(vectors, 10)
    assert wv.shared_neighbours(fresh, np.array(data["voisins"])).mean() > 0.95
