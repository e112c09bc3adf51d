"""Exercices de la section « Le bloc et son flux résiduel »."""

import numpy as np

from llmbook.exercise import Exercise

rms_exercise = Exercise(
    "ex-bloc-rms", title="RMSNorm", level="facile", minutes=5,
    hints=("Moyenne des carrés sur le dernier axe, keepdims=True.",
           "eps s’ajoute à la moyenne des carrés, sous la racine."))


@rms_exercise.reference
def rmsnorm(x, gain, eps):
    """x : (T, C) ; gain : (C,) ; renvoie (T, C)."""
    return gain * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


@rms_exercise.cases
def _(rng):
    yield rng.normal(size=(4, 8)), rng.uniform(0.5, 2, size=8), 1e-5
    yield 1e-3 * rng.normal(size=(3, 6)), np.ones(6), 1e-5
    yield 3 + rng.normal(size=(2, 5)), rng.uniform(0.5, 2, size=5), 1e-6


@rms_exercise.trap("C’est LayerNorm : RMSNorm ne retire pas la moyenne.")
def _(x, gain, eps):
    centered = x - x.mean(axis=-1, keepdims=True)
    return gain * centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + eps)


@rms_exercise.trap("Vous divisez par la norme : il faut la moyenne des carrés, pas leur somme.")
def _(x, gain, eps):
    return gain * x / np.sqrt((x**2).sum(axis=-1, keepdims=True) + eps)


@rms_exercise.trap("eps se met sous la racine : sur de petits vecteurs, cela change tout.")
def _(x, gain, eps):
    return gain * x / (np.sqrt((x**2).mean(axis=-1, keepdims=True)) + eps)


@rms_exercise.trap("La moyenne se prend vecteur par vecteur, et non sur tout le tableau.")
def _(x, gain, eps):
    return gain * x / np.sqrt((x**2).mean() + eps)


@rms_exercise.trap("Le gain manque.")
def _(x, gain, eps):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


@rms_exercise.variant
def _(x, gain, eps):
    power = np.einsum("tc,tc->t", x, x) / x.shape[1]
    return (x.T * (power + eps) ** -0.5).T * gain


width_exercise = Exercise(
    "ex-bloc-largeur", title="La largeur cachée", level="facile", minutes=5,
    hints=("Arrondi par excès d’un quotient entier : -(-a // b).",
           "8 C / 3 par excès à un multiple de m : m × plafond(8 C / (3 m))."))


@width_exercise.reference
def hidden_width(C, multiple):
    """Plus petit multiple de `multiple` au moins égal à 8 C / 3 ; renvoie un entier."""
    return -(-8 * C // (3 * multiple)) * multiple


@width_exercise.cases
def _(rng):
    yield 4096, 256
    yield 5120, 256
    yield 768, 64
    yield 100, 8


@width_exercise.trap("Vous arrondissez au plus proche ou par défaut : Llama arrondit par excès.")
def _(C, multiple):
    return 8 * C // (3 * multiple) * multiple


@width_exercise.trap("Il manque l’arrondi au multiple.")
def _(C, multiple):
    return -(-8 * C // 3)


@width_exercise.trap("4 C est la largeur d’un réseau à deux matrices.")
def _(C, multiple):
    return -(-4 * C // multiple) * multiple


@width_exercise.variant
def _(C, multiple):
    F = 0
    while 3 * F < 8 * C:
        F += multiple
    return F


share_exercise = Exercise(
    "ex-bloc-attribution", title="Qui a écrit le mot ?", level="facile", minutes=5,
    hints=("Le logit est le produit scalaire du flux final et de la direction.",
           "Un produit scalaire se distribue sur une somme."))


@share_exercise.reference
def attribution(start, contributions, direction):
    """start : (C,) ; contributions : (K, C) ; direction : (C,) ; renvoie (K + 1,)."""
    return np.concatenate([[start @ direction], contributions @ direction])


@share_exercise.cases
def _(rng):
    yield rng.normal(size=6), rng.normal(size=(4, 6)), rng.normal(size=6)
    yield rng.normal(size=3), rng.normal(size=(7, 3)), rng.normal(size=3)


@share_exercise.trap("Le départ manque : le plongement contribue aussi.")
def _(start, contributions, direction):
    return contributions @ direction


@share_exercise.trap("Vous cumulez : on demande chaque contribution, et non le logit à chaque étage.")
def _(start, contributions, direction):
    return np.cumsum(attribution(start, contributions, direction))


@share_exercise.trap("Vous divisez par la norme de la direction : la somme ne serait plus le logit.")
def _(start, contributions, direction):
    return attribution(start, contributions, direction) / np.linalg.norm(direction)


@share_exercise.trap("Vous rendez des normes : une contribution peut aussi nuire au token.")
def _(start, contributions, direction):
    return np.linalg.norm(np.vstack([start, contributions]), axis=1)


@share_exercise.variant
def _(start, contributions, direction):
    return (np.vstack([start, contributions]) * direction).sum(axis=1)


def _strict(answer, *args):
    """Appelle la réponse ; un débordement lève FloatingPointError au lieu d’avertir."""
    with np.errstate(over="raise", invalid="raise"):
        return answer(*args)


swiglu_exercise = Exercise(
    "ex-bloc-swiglu", title="SwiGLU à la main", level="moyen", minutes=10, call=_strict,
    hints=("silu(z) = z σ(z), et σ(z) = (1 + tanh(z / 2)) / 2 ne déborde jamais.",
           "La porte multiplie x @ U, avant D."))


def _silu(z):
    return z * 0.5 * (1 + np.tanh(z / 2))


@swiglu_exercise.reference
def swiglu(x, G, U, D):
    """x : (T, C) ; G, U : (C, F) ; D : (F, C) ; renvoie (T, C)."""
    z = x @ G
    return (z * 0.5 * (1 + np.tanh(z / 2)) * (x @ U)) @ D


@swiglu_exercise.cases
def _(rng):
    yield tuple(rng.normal(size=s) for s in ((4, 5), (5, 7), (5, 7), (7, 5)))
    yield tuple(rng.normal(size=s) for s in ((3, 6), (6, 4), (6, 4), (4, 6)))
    yield (rng.normal(size=(3, 4)), 800 * rng.normal(size=(4, 6)), rng.normal(size=(4, 6)),
           rng.normal(size=(6, 4)))


@swiglu_exercise.trap("exp(-z) déborde quand z vaut -1000 : écrivez la sigmoïde avec tanh, ou selon "
                      "le signe de z.")
def _(x, G, U, D):
    z = x @ G
    return (z / (1 + np.exp(-z)) * (x @ U)) @ D


@swiglu_exercise.trap("C’est l’autre projection que vous activez : silu porte sur x @ G.")
def _(x, G, U, D):
    return (_silu(x @ U) * (x @ G)) @ D


@swiglu_exercise.trap("Vous employez la sigmoïde seule, la porte GLU : silu(z) = z σ(z).")
def _(x, G, U, D):
    return (0.5 * (1 + np.tanh(x @ G / 2)) * (x @ U)) @ D


@swiglu_exercise.trap("Les deux projections se multiplient, elles ne s’ajoutent pas.")
def _(x, G, U, D):
    return (_silu(x @ G) + x @ U) @ D


@swiglu_exercise.trap("Il manque la porte : vous avez écrit un réseau ordinaire.")
def _(x, G, U, D):
    return _silu(x @ G) @ D


@swiglu_exercise.variant
def _(x, G, U, D):
    z = x @ G
    e = np.exp(-np.abs(z))
    gate = np.where(z >= 0, z / (1 + e), z * e / (1 + e))
    return np.einsum("tf,tf,fc->tc", gate, x @ U, D)


pile_exercise = Exercise(
    "ex-bloc-pile", title="La pile entière", level="moyen", minutes=10,
    hints=("Deux additions par bloc, chacune sur une entrée normalisée.",
           "Le réseau lit le flux d’après l’attention."))


def _pile(x, blocks, attend, think):
    states = [x]
    for attention, network in blocks:
        x = attend(x, attention)
        x = think(x, network)
        states.append(x)
    return np.stack(states)


def _norm(x):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)


class Mix:
    """Une fonction (T, C) -> (T, C) tirée au hasard, qui mélange positions et canaux."""

    def __init__(self, rng, T, C):
        self.left, self.right = rng.normal(size=(T, T)) / T, rng.normal(size=(C, C)) / C

    def __call__(self, x):
        return np.tanh(self.left @ x @ self.right) + 0.1

    def __repr__(self):
        return "fonction"


def _norm_named(x):
    return _norm(x)


@pile_exercise.reference
def residual_stream(x, blocks, norm):
    """x : (T, C) ; blocks : [(attention, réseau)] ; renvoie les états, une liste de (T, C)."""
    states = [x]
    for attention, network in blocks:
        x = x + attention(norm(x))
        x = x + network(norm(x))
        states.append(x)
    return states


@pile_exercise.cases
def _(rng):
    for depth in (1, 2, 4):
        blocks = [(Mix(rng, 3, 5), Mix(rng, 3, 5)) for _ in range(depth)]
        yield rng.normal(size=(3, 5)), blocks, _norm_named


@pile_exercise.trap("Le réseau doit lire le flux après l’attention, et non l’entrée du bloc.")
def _(x, blocks, norm):
    states = [x]
    for attention, network in blocks:
        x = x + attention(norm(x)) + network(norm(x))
        states.append(x)
    return states


@pile_exercise.trap("La norme est sur la branche : l’addition se fait avec le flux non normalisé.")
def _(x, blocks, norm):
    return list(_pile(x, blocks, lambda x, f: norm(x) + f(norm(x)),
                      lambda x, f: norm(x) + f(norm(x))))


@pile_exercise.trap("C’est la norme après : on demande la norme avant.")
def _(x, blocks, norm):
    return list(_pile(x, blocks, lambda x, f: norm(x + f(x)), lambda x, f: norm(x + f(x))))


@pile_exercise.trap("L’addition manque : chaque moitié remplace le flux au lieu d’y écrire.")
def _(x, blocks, norm):
    return list(_pile(x, blocks, lambda x, f: f(norm(x)), lambda x, f: f(norm(x))))


@pile_exercise.trap("La liste commence par l’entrée x.")
def _(x, blocks, norm):
    return residual_stream(x, blocks, norm)[1:]


@pile_exercise.variant
def _(x, blocks, norm):
    def write(x, f):
        return np.add(x, f(norm(x)))

    return list(_pile(x, blocks, write, write))


decide_exercise = Exercise(
    "ex-bloc-decide", title="L’étage qui décide", level="facile", minutes=8,
    hints=("Comparez l’argmax de chaque étage à celui du dernier.",
           "Partez de la fin, et remontez tant qu’ils sont égaux."))


@decide_exercise.reference
def decision_stage(laws):
    """laws : (L + 1, V) ; renvoie l’indice d’un étage."""
    best = laws.argmax(axis=1)
    stage = len(best) - 1
    while stage > 0 and best[stage - 1] == best[-1]:
        stage -= 1
    return int(stage)


def _laws(rng, winners, V=6):
    laws = rng.random((len(winners), V)) * 0.1
    laws[np.arange(len(winners)), winners] = 1.0
    return laws / laws.sum(axis=1, keepdims=True)


@decide_exercise.cases
def _(rng):
    yield _laws(rng, [0, 3, 3, 2, 2]),
    yield _laws(rng, [2, 1, 2, 4, 2, 2]),
    yield _laws(rng, [5, 5, 5]),
    yield _laws(rng, [0, 1, 2, 3]),


@decide_exercise.trap("Un étage plus bas l’avait trouvé, puis perdu : il faut qu’il le reste "
                      "jusqu’au bout.")
def _(laws):
    best = laws.argmax(axis=1)
    return int(np.argmax(best == best[-1]))


@decide_exercise.trap("Vous rendez le dernier étage où il n’y est pas : ajoutez un.")
def _(laws):
    return decision_stage(laws) - 1


@decide_exercise.trap("Vous rendez le token ; on demande l’étage.")
def _(laws):
    return int(laws[-1].argmax())


@decide_exercise.variant
def _(laws):
    best = laws.argmax(axis=1)
    wrong = np.flatnonzero(best != best[-1])
    return int(wrong[-1] + 1) if len(wrong) else 0
