"""llmbook.maths, comparé à scipy, torch, scikit-learn, ou par une propriété."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics import mutual_info_score
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine

from llmbook import maths

CLOSE = dict(rtol=1e-12, atol=1e-12)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_family_equals_scipy(rng, axis):
    x = rng.normal(size=(3, 4, 5)) * 10
    np.testing.assert_allclose(maths.softmax(x, axis), scipy.special.softmax(x, axis), **CLOSE)
    np.testing.assert_allclose(
        maths.log_softmax(x, axis), scipy.special.log_softmax(x, axis), **CLOSE
    )
    np.testing.assert_allclose(maths.logsumexp(x, axis), scipy.special.logsumexp(x, axis), **CLOSE)


def test_softmax_neither_overflows_nor_underflows():
    assert maths.softmax([1e4, 0, -1e4]).tolist() == [1, 0, 0]
    assert maths.log_softmax([1e4, 0])[1] == -1e4
    assert maths.logsumexp([-np.inf, -np.inf]) == -np.inf
    assert maths.softmax([0, -np.inf]).tolist() == [1, 0]  # un masque


def test_temperature(rng):
    x = rng.normal(size=6)
    np.testing.assert_allclose(maths.softmax(x, temperature=2), maths.softmax(x / 2))
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            maths.softmax(x, temperature=bad)


def test_cross_entropy_equals_torch(rng):
    logits = rng.normal(size=(8, 5))
    classes, p = rng.integers(5, size=8), rng.dirichlet(np.ones(5), size=8)
    torch_ce = torch.nn.functional.cross_entropy
    for targets in (classes, p):
        expected = torch_ce(torch.tensor(logits), torch.tensor(targets)).item()
        assert maths.cross_entropy(logits, targets) == pytest.approx(expected, rel=1e-12)
    assert maths.cross_entropy(logits[0], int(classes[0])) > 0  # une seule prédiction


def test_cross_entropy_is_entropy_plus_kl(rng):
    p, q = rng.dirichlet(np.ones(5), size=2)
    assert maths.cross_entropy(np.log(q), p) == pytest.approx(maths.entropy(p) + maths.kl(p, q))
    hard = np.array([1.0, 0.0])
    with np.errstate(divide="ignore"):
        assert maths.cross_entropy(np.log(hard), hard) == 0


@pytest.mark.parametrize("base", [np.e, 2, 10])
def test_entropy_and_kl_equal_scipy(rng, base):
    p, q = rng.dirichlet(np.ones(6), size=(2, 4))
    np.testing.assert_allclose(maths.entropy(p, base), scipy.stats.entropy(p, base=base, axis=-1))
    np.testing.assert_allclose(maths.kl(p, q, base), scipy.stats.entropy(p, q, base=base, axis=-1))


def test_entropy_and_kl_at_the_edges():
    assert maths.entropy([1, 0, 0]) == 0 and not np.signbit(maths.entropy([1, 0, 0]))
    assert maths.entropy(np.full(8, 1 / 8), base=2) == pytest.approx(3)
    assert maths.kl([0.5, 0.5], [1, 0]) == np.inf
    assert maths.kl([1, 0], [0.5, 0.5], base=2) == pytest.approx(1)


def test_mutual_information_equals_sklearn(rng):
    counts = rng.integers(0, 20, size=(4, 6))
    expected = mutual_info_score(None, None, contingency=counts)
    assert maths.mutual_information(counts / counts.sum()) == pytest.approx(expected)
    p, q = rng.dirichlet(np.ones(3), size=2)
    assert maths.mutual_information(np.outer(p, q)) == pytest.approx(0, abs=1e-12)
    assert maths.mutual_information(np.diag(p), 2) == pytest.approx(maths.entropy(p, 2))


def test_perplexity_of_a_uniform_choice():
    assert maths.perplexity(np.full(10, np.log(50))) == pytest.approx(50)
    with pytest.raises(ValueError, match="aucune perte"):
        maths.perplexity([])


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ([0.5, 0.6], "ne somment pas à 1"),
        ([-0.5, 1.5], "négative"),
        ([np.nan, 1], "négative ou n’est pas un nombre"),
        ([], "loi"),
        (1.0, "loi"),
    ],
)
def test_what_is_not_a_distribution(p, words):
    for function in (maths.entropy, lambda p: maths.kl(p, p), lambda p: maths.kl([0.5, 0.5], p)):
        with pytest.raises(ValueError, match=words):
            function(p)


def test_shapes_and_bases_are_checked():
    with pytest.raises(ValueError, match="nombre d’issues"):
        maths.kl([1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="loi jointe"):
        maths.mutual_information([0.5, 0.5])
    with pytest.raises(ValueError, match="base=1"):
        maths.entropy([1.0], base=1)
    with pytest.raises(ValueError, match="cibles de forme"):
        maths.cross_entropy(np.zeros((2, 3)), [0])
    for target in (3, -1):
        with pytest.raises(ValueError, match=r"\[0, 3\)"):
            maths.cross_entropy(np.zeros((1, 3)), [target])
    with pytest.raises(ValueError, match="formes différentes"):
        maths.cross_entropy(np.zeros((2, 3)), [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match="axe non vide"):
        maths.softmax([])


def test_numerical_gradient_equals_scipy_and_keeps_x(rng):
    x = rng.normal(size=(2, 3))
    before = x.copy()
    gradient = maths.numerical_gradient(lambda x: (np.sin(x) * x).sum(), x)
    np.testing.assert_allclose(gradient, np.cos(x) * x + np.sin(x), atol=1e-8)
    np.testing.assert_array_equal(x, before)
    flat = scipy.optimize.approx_fprime(x.ravel(), lambda x: (np.sin(x) * x).sum(), 1e-7)
    np.testing.assert_allclose(gradient.ravel(), flat, atol=1e-5)
    assert maths.numerical_gradient(lambda x: x**2, 3) == pytest.approx(6)  # un scalaire
    with pytest.raises(ValueError, match="eps"):
        maths.numerical_gradient(np.sum, x, eps=0)


def test_cosine_similarity_equals_sklearn_and_torch(rng):
    X, Y = rng.normal(size=(4, 7)), rng.normal(size=(5, 7))
    np.testing.assert_allclose(maths.cosine_similarity(X[:, None], Y), sklearn_cosine(X, Y))
    expected = torch.cosine_similarity(torch.tensor(X), torch.tensor(Y[:4]))
    np.testing.assert_allclose(maths.cosine_similarity(X, Y[:4]), expected)
    assert maths.cosine_similarity(1e-100 * X[0], 1e100 * X[0]) == pytest.approx(1)
    with pytest.raises(ValueError, match="nul"):
        maths.cosine_similarity([0, 0], [1, 2])
    for pair in [([1, 2], [1, 2, 3]), (1, 2)]:
        with pytest.raises(ValueError, match="même dimension"):
            maths.cosine_similarity(*pair)


def test_power_iteration_equals_eigh(rng):
    B = rng.normal(size=(6, 6))
    for A in (B + B.T, B @ B.T, -B @ B.T):
        value, vector = maths.power_iteration(A)
        values, vectors = np.linalg.eigh(A)
        top = np.abs(values).argmax()
        assert value == pytest.approx(values[top], rel=1e-9)
        assert abs(vector @ vectors[:, top]) == pytest.approx(1, abs=1e-9)
    assert maths.power_iteration(np.zeros((2, 2)))[0] == 0
    with pytest.raises(np.linalg.LinAlgError, match="même module"):
        maths.power_iteration(np.diag([1.0, -1.0]), steps=50)
    with pytest.raises(ValueError, match="carrée"):
        maths.power_iteration(np.ones((2, 3)))


def test_truncated_svd(rng):
    A = rng.normal(size=(7, 5))
    expected = np.linalg.svd(A, compute_uv=False)
    for k in (1, 3, 5):
        U, s, Vt = maths.truncated_svd(A, k)
        assert (U.shape, s.shape, Vt.shape) == ((7, k), (k,), (k, 5))
        np.testing.assert_allclose(s, expected[:k])
        np.testing.assert_allclose(U.T @ U, np.eye(k), atol=1e-12)
        np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), atol=1e-12)
        error = np.linalg.norm(A - U * s @ Vt)  # Eckart et Young
        np.testing.assert_allclose(error, np.sqrt((expected[k:] ** 2).sum()), atol=1e-12)
        assert (Vt[np.arange(k), np.abs(Vt).argmax(1)] > 0).all()
    for k in (0, 6):
        with pytest.raises(ValueError, match="un rang entre 1 et 5"):
            maths.truncated_svd(A, k)
    for bad in (np.ones(3), np.ones((0, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="matrice"):
            maths.truncated_svd(bad, 1)


def test_pca_equals_sklearn(rng):
    X = rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 10
    ours, theirs = maths.pca(X, 3), SklearnPCA(3, svd_solver="full").fit(X)
    signs = np.sign((ours.components * theirs.components_).sum(1))
    np.testing.assert_allclose(ours.components * signs[:, None], theirs.components_, atol=1e-10)
    np.testing.assert_allclose(ours.scores * signs, theirs.transform(X), atol=1e-10)
    np.testing.assert_allclose(ours.variance, theirs.explained_variance_)
    np.testing.assert_allclose(ours.ratio, theirs.explained_variance_ratio_)
    whole = maths.pca(X, 5)
    np.testing.assert_allclose(whole.scores @ whole.components + whole.mean, X)
    with pytest.raises(ValueError, match="variance"):
        maths.pca(np.ones((3, 2)), 1)
    with pytest.raises(ValueError, match="deux individus"):
        maths.pca(np.ones((1, 2)), 1)
