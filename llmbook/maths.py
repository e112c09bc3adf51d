"""Les fonctions du premier chapitre, en numpy, chacune en quelques lignes.

Logarithmes naturels, donc résultats en nats, sauf si `base` le change (`base=2` : en bits).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llmbook.autograd import Value as Value

# Des logits aux probabilités


def logsumexp(x, axis: int = -1) -> np.ndarray:
    """ln Σ exp(x) le long de `axis`, sans débordement : le maximum sort de la somme.

    x : (..., K) ; renvoie (...,). ValueError si l’axe est vide.
    """
    x = _nonempty(x, axis)
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)  # que des -inf : évite -inf - (-inf)
    with np.errstate(divide="ignore"):  # ln 0 = -inf est la bonne réponse
        return np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)


def log_softmax(x, axis: int = -1) -> np.ndarray:
    """Logarithmes des probabilités : x - logsumexp(x). Même forme que x."""
    x = _nonempty(x, axis)
    return x - np.expand_dims(logsumexp(x, axis), axis)


def softmax(x, axis: int = -1, temperature: float = 1.0) -> np.ndarray:
    """Probabilités proportionnelles à exp(x / temperature). Même forme que x."""
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} : un nombre strictement positif est attendu")
    return np.exp(log_softmax(np.asarray(x, dtype=float) / temperature, axis))


# Théorie de l’information


def cross_entropy(logits, targets) -> float:
    """Entropie croisée moyenne, en nats, comme `torch.nn.functional.cross_entropy`.

    logits : (..., K) ; targets : indices de classes (...,) ou probabilités (..., K).
    Des log-probabilités sont des logits : H(p, q) = cross_entropy(np.log(q), p).
    ValueError si les formes ne vont pas ensemble ou si un indice sort de [0, K).
    """
    log_q, targets = log_softmax(logits), np.asarray(targets)
    if np.issubdtype(targets.dtype, np.integer):
        if targets.shape != log_q.shape[:-1]:
            raise ValueError(
                f"logits {log_q.shape} : cibles de forme {log_q.shape[:-1]} attendues, "
                f"reçu {targets.shape}"
            )
        if targets.size and not 0 <= targets.min() <= targets.max() < log_q.shape[-1]:
            raise ValueError(f"une cible sort de l’intervalle [0, {log_q.shape[-1]})")
        return float(-np.take_along_axis(log_q, targets[..., None], -1).mean())
    p = _distribution(targets)
    if p.shape != log_q.shape:
        raise ValueError(f"formes différentes : logits {log_q.shape}, cibles {p.shape}")
    return float(-_times_log(p, log_q).sum(-1).mean())


def entropy(p, base: float = np.e) -> np.ndarray:
    """H(p) = -Σ p ln p, avec 0 ln 0 = 0. p : (..., K) ; renvoie (...,)."""
    p = _distribution(p)
    return _in_base(-_times_log(p, _log(p)).sum(-1) + 0.0, base)  # + 0.0 : jamais -0.0


def kl(p, q, base: float = np.e) -> np.ndarray:
    """Divergence de Kullback-Leibler D(p ‖ q) = Σ p ln(p / q).

    p, q : (..., K) ; renvoie (...,). Infinie si q vaut 0 là où p ne vaut pas 0.
    """
    p, q = _distribution(p), _distribution(q)
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p et q n’ont pas le même nombre d’issues : {p.shape} et {q.shape}")
    return _in_base((_times_log(p, _log(p)) - _times_log(p, _log(q))).sum(-1), base)


def mutual_information(joint, base: float = np.e) -> float:
    """I(X ; Y) = D(p(x, y) ‖ p(x) p(y)). joint : (Kx, Ky), de somme 1."""
    joint = np.asarray(joint, dtype=float)
    if joint.ndim != 2:
        raise ValueError(f"une loi jointe (Kx, Ky) est attendue, reçu {joint.shape}")
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(kl(joint.ravel(), independent.ravel(), base))


def perplexity(losses) -> float:
    """exp de la perte moyenne. losses : entropies croisées en nats, de forme quelconque."""
    losses = np.asarray(losses, dtype=float)
    if losses.size == 0:
        raise ValueError("aucune perte à moyenner")
    return float(np.exp(losses.mean()))


# Gradients


def numerical_gradient(f: Callable, x, eps: float = 1e-5) -> np.ndarray:
    """Gradient de f en x par différences centrées, une coordonnée à la fois : 2 × x.size appels.

    f : tableau de la forme de x -> nombre ; renvoie la forme de x.
    L’erreur de troncature est en eps², celle d’arrondi en 1 / eps.
    """
    if not eps > 0:
        raise ValueError(f"eps={eps} : un pas strictement positif est attendu")
    x = np.array(x, dtype=float)  # une copie : x n’est pas modifié
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        center = x[i]
        x[i] = center + eps
        above = float(f(x.copy()))
        x[i] = center - eps
        below = float(f(x.copy()))
        x[i] = center
        gradient[i] = (above - below) / (2 * eps)
    return gradient


# Vecteurs et matrices


def cosine_similarity(x, y) -> np.ndarray:
    """Cosinus de l’angle entre x et y. x, y : (..., C), diffusés ; renvoie (...,).

    ValueError pour un vecteur nul : il n’a pas de direction.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-1]:
        raise ValueError(f"vecteurs de même dimension attendus : {x.shape} et {y.shape}")
    x_norm = np.linalg.norm(x, axis=-1, keepdims=True)  # (..., 1)
    y_norm = np.linalg.norm(y, axis=-1, keepdims=True)
    if not (x_norm.all() and y_norm.all()):
        raise ValueError("un vecteur nul n’a pas de direction : son cosinus n’est pas défini")
    return (x / x_norm * (y / y_norm)).sum(-1)


def power_iteration(A, steps: int = 10_000, tol: float = 1e-10, rng=None):
    """Valeur propre de plus grand module de A, et son vecteur propre unitaire.

    A : (n, n), à valeur propre dominante réelle et simple ; renvoie (float, (n,)).
    Arrêt quand ‖Av - λv‖ <= tol ‖Av‖. LinAlgError si ce n’est pas le cas après `steps` pas.
    """
    A = _matrix(A)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"une matrice carrée est attendue, reçu {A.shape}")
    v = (rng or np.random.default_rng(0)).normal(size=len(A))
    v /= np.linalg.norm(v)
    for _ in range(steps):
        image = A @ v
        value, length = float(v @ image), np.linalg.norm(image)  # quotient de Rayleigh
        residual = np.linalg.norm(image - value * v)
        if residual <= tol * length:
            return value, v
        v = image / length
    raise np.linalg.LinAlgError(
        f"la puissance itérée n’a pas convergé en {steps} pas (résidu {residual:.2g}) : "
        "deux valeurs propres ont peut-être le même module"
    )


def truncated_svd(A, k: int):
    """Les k premiers triplets singuliers : U (m, k), s (k,), Vt (k, n).

    U @ np.diag(s) @ Vt est la meilleure approximation de A de rang k (Eckart et Young, 1936).
    Signes fixés : dans chaque ligne de Vt, le coefficient de plus grand module est positif.
    """
    A = _matrix(A)
    if not 1 <= k <= min(A.shape):
        raise ValueError(f"k={k} : un rang entre 1 et {min(A.shape)} est attendu")
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    U, s, Vt = U[:, :k], s[:k], Vt[:k]
    signs = np.sign(Vt[np.arange(k), np.abs(Vt).argmax(axis=1)])
    return U * signs, s, Vt * signs[:, None]


class PCA(NamedTuple):
    """Résultat de `pca` : X vaut scores @ components + mean, à ce qui est perdu près.

    scores : (n, k), coordonnées des individus ; components : (k, d), directions orthonormées ;
    variance : (k,), de chaque coordonnée, diviseur n - 1 ; ratio : (k,), part de la variance
    totale ; mean : (d,).
    """

    scores: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    ratio: np.ndarray
    mean: np.ndarray


def pca(X, k: int) -> PCA:
    """Analyse en composantes principales par la SVD de X centrée. X : (n, d), n >= 2."""
    X = _matrix(X)
    if len(X) < 2:
        raise ValueError("deux individus au moins sont nécessaires")
    mean = X.mean(axis=0)
    U, s, Vt = truncated_svd(X - mean, k)
    total = X.var(axis=0, ddof=1).sum()
    if total == 0:
        raise ValueError("tous les individus sont égaux : il n’y a aucune variance à expliquer")
    variance = s**2 / (len(X) - 1)
    return PCA(U * s, Vt, variance, variance / total, mean)


# Contrôles communs


def _nonempty(x, axis: int) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    if x.ndim == 0 or x.shape[axis] == 0:
        raise ValueError(f"un axe non vide est attendu, reçu un tableau de forme {x.shape}")
    return x


def _distribution(p) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    if p.ndim == 0 or p.shape[-1] == 0:
        raise ValueError(f"une loi (..., K) est attendue, reçu un tableau de forme {p.shape}")
    if not (p >= 0).all():
        raise ValueError("une probabilité est négative ou n’est pas un nombre")
    if np.abs(p.sum(-1) - 1).max() > 1e-6:
        raise ValueError(f"les probabilités ne somment pas à 1 : {np.atleast_1d(p.sum(-1))[0]:.6g}")
    return p


def _matrix(A) -> np.ndarray:
    A = np.asarray(A, dtype=float)
    if A.ndim != 2 or not A.size:
        raise ValueError(f"une matrice non vide est attendue, reçu un tableau de forme {A.shape}")
    if not np.isfinite(A).all():
        raise ValueError("la matrice contient des nan ou des infinis")
    return A


def _log(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(p)


def _times_log(p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """p × log_q, avec 0 × (-inf) = 0."""
    p, log_q = np.broadcast_arrays(p, log_q)
    return np.multiply(p, log_q, where=p > 0, out=np.zeros(p.shape))


def _in_base(nats, base: float):
    if not base > 1:
        raise ValueError(f"base={base} : une base supérieure à 1 est attendue")
    return nats / np.log(base)
