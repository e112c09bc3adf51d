"""Exercices de la section « Gradients et rétropropagation »."""

import numpy as np

from llmbook.exercise import Exercise
from llmbook.maths import softmax

centred_exercise = Exercise(
    "ex-gradients-centree", title="Différence centrée", level="facile", minutes=3,
    rtol=1e-9, atol=1e-11,
    hints=("On regarde f un pas avant x, et un pas après.",
           "Les deux points sont distants de 2h."))  # fmt: skip


@centred_exercise.reference
def derivative(f, x, h):
    """f : fonction d’un nombre ; renvoie un nombre."""
    return (f(x + h) - f(x - h)) / (2 * h)


@centred_exercise.cases
def _(rng):
    yield np.exp, 1.0, 0.1
    yield np.sin, 0.3, 0.5
    yield np.tanh, -0.7, 0.2


@centred_exercise.trap("Les deux points sont distants de 2h, pas de h.")
def _(f, x, h):
    return (f(x + h) - f(x - h)) / h


@centred_exercise.trap("C’est la différence avant : son erreur est en h, celle de la centrée en h².")
def _(f, x, h):
    return (f(x + h) - f(x)) / h


@centred_exercise.trap("Le signe est inversé : c’est f(x + h) moins f(x − h).")
def _(f, x, h):
    return (f(x - h) - f(x + h)) / (2 * h)


@centred_exercise.trap("Il manque des parenthèses : / 2 * h divise par 2, puis multiplie par h.")
def _(f, x, h):
    return (f(x + h) - f(x - h)) / 2 * h


@centred_exercise.trap("C’est la différence arrière : son erreur est en h. Prenez f(x + h) et f(x − h).")
def _(f, x, h):
    return (f(x) - f(x - h)) / h


@centred_exercise.trap("Il manque des parenthèses : seul f(x − h) est divisé par 2h.")
def _(f, x, h):
    return f(x + h) - f(x - h) / (2 * h)


@centred_exercise.variant
def _(f, x, h):
    ahead, behind = (f(x + h) - f(x)) / h, (f(x) - f(x - h)) / h
    return (ahead + behind) / 2


linear_exercise = Exercise(
    "ex-gradients-lineaire", title="Couche linéaire", level="facile", minutes=8,
    hints=("Un gradient a la forme de ce qu’il dérive : les formes donnent presque la réponse.",
           "Le biais sert à toutes les lignes du lot : ses contributions s’ajoutent."))  # fmt: skip


@linear_exercise.reference
def linear_backward(X, W, G):
    """X : (B, n) ; W : (n, m) ; G : (B, m) ; renvoie (B, n), (n, m), (m,)."""
    return G @ W.T, X.T @ G, G.sum(axis=0)


@linear_exercise.cases
def _(rng):
    yield rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    yield rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=(5, 2))


@linear_exercise.trap("Il manque la transposée de W : avec une matrice carrée, la forme reste bonne et "
                      "le résultat est faux.")  # fmt: skip
def _(X, W, G):
    return G @ W, X.T @ G, G.sum(axis=0)


@linear_exercise.trap("Le gradient du biais est une somme sur le lot, pas une moyenne : la division est "
                      "déjà dans la perte.")  # fmt: skip
def _(X, W, G):
    return G @ W.T, X.T @ G, G.mean(axis=0)


@linear_exercise.trap("L’ordre attendu est X, W, biais : vous avez échangé les deux premiers.")
def _(X, W, G):
    return X.T @ G, G @ W.T, G.sum(axis=0)


@linear_exercise.trap("Vous avez sommé sur les sorties (axis=1) ; le biais est partagé par les lignes du "
                      "lot (axis=0).")  # fmt: skip
def _(X, W, G):
    return G @ W.T, X.T @ G, G.sum(axis=1)


@linear_exercise.trap("Le gradient de W est transposé : il doit avoir la forme (n, m) de W.")
def _(X, W, G):
    return G @ W.T, G.T @ X, G.sum(axis=0)


@linear_exercise.trap("Le gradient de W est une somme sur le lot : ne divisez pas par B, cette division "
                      "est déjà dans G.")  # fmt: skip
def _(X, W, G):
    return G @ W.T, X.T @ G / len(X), G.sum(axis=0)


@linear_exercise.trap("Le gradient du biais n’a qu’un axe, (m,), comme le biais : retirez keepdims.")
def _(X, W, G):
    return G @ W.T, X.T @ G, G.sum(axis=0, keepdims=True)


@linear_exercise.variant
def _(X, W, G):
    dX = np.einsum("bm,nm->bn", G, W)
    dW = sum(np.outer(x, g) for x, g in zip(X, G, strict=True))
    return dX, dW, np.ones(len(G)) @ G


shortcut_exercise = Exercise(
    "ex-gradients-raccourci", title="Un neurone avec raccourci", level="moyen", minutes=12,
    hints=("Posez h = tanh(a + b) et r = h + a − t, puis remontez depuis L = r².",
           "a sert deux fois : dans h et dans r. Ses deux contributions s’ajoutent.",
           "dL/da = 2r (1 − h²) + 2r ; dL/db n’a que le premier terme."))  # fmt: skip


@shortcut_exercise.reference
def neuron_gradient(w, b, x, t):
    """Quatre nombres ; renvoie (dL/dw, dL/db)."""
    a = w * x
    h = np.tanh(a + b)
    r_bar = 2 * (h + a - t)
    z_bar = r_bar * (1 - h**2)
    return (z_bar + r_bar) * x, z_bar


@shortcut_exercise.cases
def _(rng):
    yield 0.8, -1.0, 1.5, 0.0
    yield -0.4, 0.3, 2.0, 1.0
    yield 1.1, 0.2, -0.6, 0.5


def _neuron(w, b, x, t):
    a = w * x
    h = np.tanh(a + b)
    return h, 2 * (h + a - t)


@shortcut_exercise.trap("Il manque le raccourci : a sert aussi dans la somme h + a.")
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return r_bar * (1 - h**2) * x, r_bar * (1 - h**2)


@shortcut_exercise.trap("Vous n’avez gardé que le raccourci : a passe aussi par la tangente "
                        "hyperbolique.")  # fmt: skip
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return r_bar * x, r_bar * (1 - h**2)


@shortcut_exercise.trap("Le biais n’entre que dans la tangente hyperbolique : le raccourci ne le "
                        "concerne pas.")  # fmt: skip
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return (r_bar * (1 - h**2) + r_bar) * x, r_bar * (1 - h**2) + r_bar


@shortcut_exercise.trap("La dérivée de a = w x par rapport à w est x : ce facteur manque.")
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return r_bar * (1 - h**2) + r_bar, r_bar * (1 - h**2)


@shortcut_exercise.trap("La dérivée du carré est 2r : le facteur 2 manque.")
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return (r_bar * (1 - h**2) + r_bar) * x / 2, r_bar * (1 - h**2) / 2


@shortcut_exercise.trap("La dérivée de tanh est 1 − tanh², pas 1 − tanh : le carré manque.")
def _(w, b, x, t):
    h, r_bar = _neuron(w, b, x, t)
    return (r_bar * (1 - h) + r_bar) * x, r_bar * (1 - h)


@shortcut_exercise.trap("La pente de tanh se prend en a + b : vous l’avez prise en a.")
def _(w, b, x, t):
    _, r_bar = _neuron(w, b, x, t)
    slope = 1 - np.tanh(w * x) ** 2
    return (r_bar * slope + r_bar) * x, r_bar * slope


@shortcut_exercise.variant
def _(w, b, x, t):
    from llmbook.autograd import Value

    weight, bias = Value(w), Value(b)
    a = weight * x
    loss = ((a + bias).tanh() + a - t) ** 2
    loss.backward()
    return weight.grad, bias.grad


temperature_exercise = Exercise(
    "ex-gradients-temperature", title="Entropie croisée et température", level="moyen", minutes=12,
    hints=("Par rapport à u = z / tau, le gradient d’un exemple est p − y.",
           "La règle de la chaîne ajoute un facteur : la dérivée de u par rapport à z.",
           "La perte est une moyenne : divisez par le nombre d’exemples."))  # fmt: skip


@temperature_exercise.reference
def logits_gradient(z, targets, tau):
    """z : (B, V) ; targets : (B,) ; renvoie (B, V)."""
    gradient = softmax(z / tau)
    gradient[np.arange(len(z)), targets] -= 1
    return gradient / (tau * len(z))


@temperature_exercise.cases
def _(rng):
    yield rng.normal(size=(3, 5)), np.array([0, 4, 2]), 0.5
    yield 3 * rng.normal(size=(4, 6)), np.array([1, 1, 5, 0]), 2.0
    yield 1000 * rng.normal(size=(2, 3)), np.array([2, 0]), 1.5


def _gradient(z, targets, tau):
    return (softmax(z / tau) - np.eye(z.shape[1])[targets]) / (tau * len(z))


@temperature_exercise.trap("Il manque le facteur 1/tau de la règle de la chaîne : z est divisé par tau.")
def _(z, targets, tau):
    return _gradient(z, targets, tau) * tau


@temperature_exercise.trap("La perte est une moyenne sur le lot : divisez par le nombre d’exemples.")
def _(z, targets, tau):
    return _gradient(z, targets, tau) * len(z)


@temperature_exercise.trap("La température doit aussi diviser les scores dans le softmax.")
def _(z, targets, tau):
    return (softmax(z) - np.eye(z.shape[1])[targets]) / (tau * len(z))


@temperature_exercise.trap("Le signe est inversé : c’est p − y, négatif pour la bonne réponse.")
def _(z, targets, tau):
    return -_gradient(z, targets, tau)


@temperature_exercise.trap("Divisez par tau, ne multipliez pas : une température haute adoucit le "
                           "gradient.")  # fmt: skip
def _(z, targets, tau):
    return _gradient(z, targets, tau) * tau**2


@temperature_exercise.trap("Vos exponentielles débordent sur de grands scores : retirez d’abord le "
                           "maximum de chaque ligne.")  # fmt: skip
def _(z, targets, tau):
    with np.errstate(all="ignore"):
        e = np.exp(z / tau)
        p = e / e.sum(axis=1, keepdims=True)
    return (p - np.eye(z.shape[1])[targets]) / (tau * len(z))


@temperature_exercise.trap("La température n’entre nulle part dans votre réponse : elle divise les scores, "
                           "puis le gradient.")  # fmt: skip
def _(z, targets, tau):
    return (softmax(z) - np.eye(z.shape[1])[targets]) / len(z)


@temperature_exercise.trap("La moyenne porte sur les B exemples : vous avez divisé par B × V.")
def _(z, targets, tau):
    return _gradient(z, targets, tau) / z.shape[1]


@temperature_exercise.variant
def _(z, targets, tau):
    out = np.zeros_like(z)
    for i, (scores, target) in enumerate(zip(z, targets, strict=True)):
        weights = np.exp((scores - scores.max()) / tau)
        for j, weight in enumerate(weights):
            out[i, j] = (weight / weights.sum() - (j == target)) / tau / len(z)
    return out


embedding_exercise = Exercise(
    "ex-gradients-plongement", title="Le gradient d’un plongement", level="moyen", minutes=15,
    hints=("La dérivée d’une lecture est une écriture qui ajoute.",
           "np.add.at(tableau, indices, valeurs) ajoute même quand un indice se répète.",
           "On peut aussi multiplier par la matrice des indicatrices, np.eye(V)[ids]."))  # fmt: skip


@embedding_exercise.reference
def embedding_backward(ids, G, V):
    """ids : (B, T) ; G : (B, T, C) ; renvoie (V, C)."""
    gradient = np.zeros((V, G.shape[-1]))
    np.add.at(gradient, ids, G)
    return gradient


@embedding_exercise.cases
def _(rng):
    yield np.array([[0, 1, 0], [2, 0, 1]]), rng.normal(size=(2, 3, 4)), 5
    yield rng.integers(6, size=(4, 3)), rng.normal(size=(4, 3, 2)), 6
    yield np.array([[3, 1]]), rng.normal(size=(1, 2, 3)), 4


@embedding_exercise.trap("Avec des indices répétés, += écrase au lieu d’ajouter : il ne reste que la "
                         "dernière contribution.")  # fmt: skip
def _(ids, G, V):
    gradient = np.zeros((V, G.shape[-1]))
    gradient[ids] += G
    return gradient


@embedding_exercise.trap("Les contributions d’un token répété s’ajoutent : vous en avez pris la moyenne.")
def _(ids, G, V):
    onehot = np.eye(V)[ids.ravel()]
    counts = np.maximum(onehot.sum(axis=0), 1)[:, None]
    return onehot.T @ G.reshape(len(onehot), -1) / counts


@embedding_exercise.trap("Ne divisez pas par la taille du lot : cette division, s’il y en a une, est déjà "
                         "dans la perte.")  # fmt: skip
def _(ids, G, V):
    onehot = np.eye(V)[ids.ravel()]
    return onehot.T @ G.reshape(len(onehot), -1) / ids.size


@embedding_exercise.trap("Vous n’avez traité qu’une position par exemple : parcourez aussi l’axe T.")
def _(ids, G, V):
    gradient = np.zeros((V, G.shape[-1]))
    np.add.at(gradient, ids[:, 0], G[:, 0])
    return gradient


@embedding_exercise.trap("Position par position, += écrase encore quand deux exemples ont le même token "
                         "à la même place.")  # fmt: skip
def _(ids, G, V):
    gradient = np.zeros((V, G.shape[-1]))
    for t in range(ids.shape[1]):
        gradient[ids[:, t]] += G[:, t]
    return gradient


@embedding_exercise.trap("Exemple par exemple, += écrase encore quand un token revient dans la même ligne.")
def _(ids, G, V):
    gradient = np.zeros((V, G.shape[-1]))
    for row, g in zip(ids, G, strict=True):
        gradient[row] += g
    return gradient


@embedding_exercise.variant
def _(ids, G, V):
    return np.einsum("btv,btc->vc", np.eye(V)[ids], G)


layer_exercise = Exercise(
    "ex-gradients-couche", title="Normalisation de couche", level="difficile", minutes=25,
    hints=("Posez x̂ = (x − μ)/σ. La sortie dépend de x par trois chemins : directement, par μ, par σ.",
           "Le chemin de σ est celui de RMSNorm : il retire x̂ fois la moyenne de G x̂.",
           "Le chemin de μ retire à G sa moyenne."))  # fmt: skip


@layer_exercise.reference
def layer_norm_backward(x, G, eps):
    """x, G : (B, C) ; renvoie (B, C)."""
    centred = x - x.mean(axis=1, keepdims=True)
    sigma = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    unit = centred / sigma
    along = (G * unit).mean(axis=1, keepdims=True)
    return (G - G.mean(axis=1, keepdims=True) - unit * along) / sigma


@layer_exercise.cases
def _(rng):
    yield 2 * rng.normal(size=(3, 6)) + 1, rng.normal(size=(3, 6)), 1e-5
    yield rng.normal(size=(2, 4)), rng.normal(size=(2, 4)), 0.1


def _layer(x, eps):
    centred = x - x.mean(axis=1, keepdims=True)
    sigma = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    return centred / sigma, sigma


def _mean(a):
    return a.mean(axis=1, keepdims=True)


@layer_exercise.trap("Il manque le chemin de la moyenne : retirez à G sa moyenne.")
def _(x, G, eps):
    unit, sigma = _layer(x, eps)
    return (G - unit * _mean(G * unit)) / sigma


@layer_exercise.trap("Il manque le chemin de l’écart type : σ dépend aussi de x.")
def _(x, G, eps):
    _, sigma = _layer(x, eps)
    return (G - _mean(G)) / sigma


@layer_exercise.trap("Vous avez traité μ et σ comme des constantes : ils dépendent de x.")
def _(x, G, eps):
    return G / _layer(x, eps)[1]


@layer_exercise.trap("Il manque la division par σ.")
def _(x, G, eps):
    unit, sigma = _layer(x, eps)
    return G - _mean(G) - unit * _mean(G * unit)


@layer_exercise.trap("Les moyennes se prennent ligne par ligne (axis=1), pas sur le lot.")
def _(x, G, eps):
    unit, sigma = _layer(x, eps)
    return (G - G.mean(axis=0) - unit * (G * unit).mean(axis=0)) / sigma


@layer_exercise.trap("Vous avez divisé par C − 1 dans la variance : ici le diviseur est C.")
def _(x, G, eps):
    centred = x - _mean(x)
    sigma = np.sqrt(x.var(axis=1, keepdims=True, ddof=1) + eps)
    unit = centred / sigma
    return (G - _mean(G) - unit * _mean(G * unit)) / sigma


@layer_exercise.trap("C’est le gradient de RMSNorm : ici la ligne est d’abord centrée, et G perd sa "
                     "moyenne.")  # fmt: skip
def _(x, G, eps):
    rms = np.sqrt(_mean(x**2) + eps)
    unit = x / rms
    return (G - unit * _mean(G * unit)) / rms


@layer_exercise.trap("eps s’ajoute à la variance, sous la racine, pas à l’écart type.")
def _(x, G, eps):
    sigma = x.std(axis=1, keepdims=True) + eps
    unit = (x - _mean(x)) / sigma
    return (G - _mean(G) - unit * _mean(G * unit)) / sigma


@layer_exercise.variant
def _(x, G, eps):
    out = np.empty_like(x)
    n = x.shape[1]
    centring = np.eye(n) - 1 / n
    for i, (row, g) in enumerate(zip(x, G, strict=True)):
        c = centring @ row
        v = c @ c / n + eps
        J = (np.eye(n) / v**0.5 - np.outer(c, c) / (n * v**1.5)) @ centring
        out[i] = g @ J
    return out
