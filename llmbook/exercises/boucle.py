"""Exercices de la section « La boucle d’entraînement »."""

import numpy as np

from llmbook.exercise import Exercise

budget_exercise = Exercise(
    "ex-boucle-budget", title="Combien de pas ?", level="facile", minutes=4,
    hints=("Un pas voit batch_size × accumulate suites, de context tokens chacune.",
           "Un pas entamé compte : arrondissez vers le haut."))


@budget_exercise.reference
def steps_needed(tokens, batch_size, context, accumulate):
    """Nombre de pas pour voir au moins `tokens` tokens ; renvoie un entier."""
    return -(-tokens // (batch_size * context * accumulate))


@budget_exercise.cases
def _(rng):
    yield 512_000, 8, 128, 1
    yield 1_000_000, 8, 128, 4
    yield 10**9, 32, 1024, 16
    yield 1, 8, 128, 2


@budget_exercise.trap("Un lot de batch_size suites contient batch_size × context tokens : il manque "
                      "context.")
def _(tokens, batch_size, context, accumulate):
    return -(-tokens // (batch_size * accumulate))


@budget_exercise.trap("Un pas fait `accumulate` passages : il voit autant de fois plus de tokens.")
def _(tokens, batch_size, context, accumulate):
    return -(-tokens // (batch_size * context))


@budget_exercise.trap("Vous multipliez le nombre de pas par accumulate ; chaque pas voit plus de tokens, "
                      "il en faut donc moins.")
def _(tokens, batch_size, context, accumulate):
    return -(-tokens * accumulate // (batch_size * context))


@budget_exercise.trap("La division entière arrondit vers le bas : le budget ne serait pas atteint.")
def _(tokens, batch_size, context, accumulate):
    return tokens // (batch_size * context * accumulate)


@budget_exercise.trap("Un nombre de pas est entier : arrondissez vers le haut.")
def _(tokens, batch_size, context, accumulate):
    return tokens / (batch_size * context * accumulate)


@budget_exercise.variant
def _(tokens, batch_size, context, accumulate):
    return int(np.ceil(tokens / (batch_size * context * accumulate)))


targets_exercise = Exercise(
    "ex-boucle-cibles", title="Entrées et cibles", level="facile", minutes=8,
    hints=("Il faut context + 1 tokens consécutifs par suite.",
           "Les entrées sont les context premiers, les cibles les context derniers."))


@targets_exercise.reference
def cut(tokens, starts, context):
    """tokens : (N,) ; starts : (B,) ; renvoie deux tableaux (B, context)."""
    rows = tokens[starts[:, None] + np.arange(context + 1)]  # (B, context + 1)
    return rows[:, :-1], rows[:, 1:]


@targets_exercise.cases
def _(rng):
    yield np.arange(10, 30), np.array([0, 5, 9]), 4
    yield rng.integers(0, 50, size=100), rng.integers(0, 80, size=6), 16
    yield np.arange(8), np.array([6]), 1


@targets_exercise.trap("Les cibles sont les entrées elles-mêmes : le modèle n’aurait qu’à recopier. "
                       "Décalez-les d’un token.")
def _(tokens, starts, context):
    rows = tokens[starts[:, None] + np.arange(context)]
    return rows, rows


@targets_exercise.trap("Les cibles sont décalées vers la gauche : on prédirait le token précédent, que "
                       "le modèle a déjà lu.")
def _(tokens, starts, context):
    rows = tokens[starts[:, None] + np.arange(context + 1)]
    return rows[:, 1:], rows[:, :-1]


@targets_exercise.trap("Une seule position par suite : dans un transformeur, toutes les positions "
                       "prédisent leur suivante.")
def _(tokens, starts, context):
    rows = tokens[starts[:, None] + np.arange(context + 1)]
    return rows[:, :-1], rows[:, -1]


@targets_exercise.trap("Vos suites n’ont que context - 1 tokens : lisez-en context + 1 avant de couper.")
def _(tokens, starts, context):
    rows = tokens[starts[:, None] + np.arange(context)]
    return rows[:, :-1], rows[:, 1:]


@targets_exercise.trap("Vous faites tourner la suite (np.roll) : la dernière cible est le premier token de "
                       "la suite au lieu de celui qui la suit dans le corpus.")
def _(tokens, starts, context):
    rows = tokens[starts[:, None] + np.arange(context)]
    return rows, np.roll(rows, -1, axis=1)


@targets_exercise.variant
def _(tokens, starts, context):
    inputs = np.stack([tokens[s : s + context] for s in starts])
    targets = np.stack([tokens[s + 1 : s + context + 1] for s in starts])
    return inputs, targets


unigram_exercise = Exercise(
    "ex-boucle-frequences", title="Le premier palier", level="moyen", minutes=10,
    hints=("np.bincount(train, minlength=V) compte chaque token, y compris ceux qui manquent.",
           "Avec un de plus partout, la somme des comptes est len(train) + V."))


@unigram_exercise.reference
def frequency_loss(train, test, V):
    """train, test : numéros de tokens ; renvoie la perte moyenne sur test, en nats par token."""
    counts = np.bincount(train, minlength=V) + 1
    return -np.log(counts[test] / counts.sum()).mean()


@unigram_exercise.cases
def _(rng):
    yield np.array([0, 0, 0, 1]), np.array([0, 1, 2]), 3
    yield rng.integers(0, 20, size=200) ** 2 // 20, rng.integers(0, 20, size=50), 20
    yield rng.integers(0, 5, size=1000), rng.integers(0, 8, size=30), 8


@unigram_exercise.trap("Un token de test absent de l’apprentissage a une probabilité nulle, et une perte "
                       "infinie : ajoutez un à chaque compte.")
def _(train, test, V):
    counts = np.bincount(train, minlength=V)
    with np.errstate(divide="ignore"):
        return -np.log(counts[test] / counts.sum()).mean()


@unigram_exercise.trap("C’est l’entropie de l’apprentissage : moyennez les surprises sur test.")
def _(train, test, V):
    p = (np.bincount(train, minlength=V) + 1) / (len(train) + V)
    return -(p * np.log(p)).sum()


@unigram_exercise.trap("Vous comptez sur test ce que vous prédisez sur test : les fréquences viennent de "
                       "train.")
def _(train, test, V):
    counts = np.bincount(test, minlength=V) + 1
    return -np.log(counts[test] / counts.sum()).mean()


@unigram_exercise.trap("C’est en bits ; on demande des nats : np.log.")
def _(train, test, V):
    return frequency_loss(train, test, V) / np.log(2)


@unigram_exercise.trap("C’est la somme des surprises : divisez par le nombre de tokens.")
def _(train, test, V):
    return frequency_loss(train, test, V) * len(test)


@unigram_exercise.trap("Le dénominateur oublie les V unités ajoutées : les probabilités dépassent 1 au "
                       "total.")
def _(train, test, V):
    counts = np.bincount(train, minlength=V) + 1
    return -np.log(counts[test] / len(train)).mean()


@unigram_exercise.variant
def _(train, test, V):
    table = {}
    for token in train.tolist():
        table[token] = table.get(token, 0) + 1
    surprises = [np.log(len(train) + V) - np.log(1 + table.get(token, 0)) for token in test.tolist()]
    return sum(surprises) / len(surprises)


accumulate_exercise = Exercise(
    "ex-boucle-accumulation", title="Des passages inégaux", level="moyen", minutes=10,
    hints=("La perte du grand lot est la moyenne sur tous ses tokens, non sur ses passages.",
           "Chaque gradient moyen pèse le nombre de tokens de son passage, divisé par le total."))


@accumulate_exercise.reference
def accumulate(grads, counts):
    """grads : (K, n), gradient moyen de chaque passage ; counts : (K,) ; renvoie (n,)."""
    return (counts[:, None] * grads).sum(axis=0) / counts.sum()


@accumulate_exercise.cases
def _(rng):
    yield np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([30, 10])
    yield rng.normal(size=(4, 3)), np.array([128, 5, 64, 17])
    yield rng.normal(size=(3, 2)), np.array([10, 0, 20])


@accumulate_exercise.trap("La moyenne des passages donne à un token d’un passage court plus de poids qu’à "
                          "un autre : pondérez par les nombres de tokens.")
def _(grads, counts):
    return grads.mean(axis=0)


@accumulate_exercise.trap("C’est la somme des gradients : il reste à pondérer et à diviser par le total.")
def _(grads, counts):
    return grads.sum(axis=0)


@accumulate_exercise.trap("Vous pondérez sans diviser par le nombre total de tokens.")
def _(grads, counts):
    return (counts[:, None] * grads).sum(axis=0)


@accumulate_exercise.trap("Vous divisez aussi par le nombre de passages : les poids ne somment plus à 1.")
def _(grads, counts):
    return (counts[:, None] * grads).sum(axis=0) / counts.sum() / len(grads)


@accumulate_exercise.trap("Ces gradients sont déjà des moyennes : les diviser encore par leur nombre de "
                          "tokens favorise les passages courts.")
def _(grads, counts):
    weights = 1 / np.maximum(counts, 1)
    return (weights[:, None] * grads).sum(axis=0) / weights.sum()


@accumulate_exercise.variant
def _(grads, counts):
    return np.average(grads, axis=0, weights=counts)


order_exercise = Exercise(
    "ex-boucle-ordre", title="L’ordre d’un pas", level="facile", minutes=5, kind="value",
    compare=lambda got, expected: _order_problem(got),
    hints=("Le gradient n’existe qu’après backward, et ne sert qu’à step.",
           "clip et rate changent ce que step va lire : ils viennent avant lui."))


@order_exercise.reference
def order():
    return ["zero_grad", "forward", "backward", "clip", "rate", "step"]


def _order_problem(got):
    """None si cet ordre fait un pas juste ; sinon ce qui cloche."""
    names = {"zero_grad", "forward", "backward", "clip", "rate", "step"}
    if not isinstance(got, (list, tuple)) or sorted(map(str, got)) != sorted(names):
        return "une liste des six noms, chacun une fois, est attendue"
    at = {name: rank for rank, name in enumerate(got)}
    if not at["forward"] < at["backward"] < at["clip"] < at["step"]:
        return "le calcul ne suit pas : forward, backward, clip, puis step"
    if at["rate"] > at["step"]:
        return "le taux doit être réglé avant step, qui le lit"
    if at["backward"] < at["zero_grad"] < at["step"]:
        return "les gradients sont effacés avant d’avoir servi"
    return None


@order_exercise.trap("zero_grad entre backward et step efface le gradient avant qu’il serve : les poids "
                     "ne bougent plus que par la décroissance.")
def _():
    return ["forward", "backward", "zero_grad", "clip", "rate", "step"]


@order_exercise.trap("Écrêter avant backward ne change rien : les gradients du pas n’existent pas encore.")
def _():
    return ["zero_grad", "forward", "clip", "backward", "rate", "step"]


@order_exercise.trap("Écrêter après step ne protège rien : le pas est déjà fait.")
def _():
    return ["zero_grad", "forward", "backward", "rate", "step", "clip"]


@order_exercise.trap("Le taux réglé après step vaut pour le pas suivant : la planification est décalée "
                     "d’un pas.")
def _():
    return ["zero_grad", "forward", "backward", "clip", "step", "rate"]


@order_exercise.variant
def _():
    return ["rate", "forward", "backward", "clip", "step", "zero_grad"]


smooth_exercise = Exercise(
    "ex-boucle-lissage", title="Lisser une courbe", level="moyen", minutes=10,
    hints=("La moyenne glissante part de zéro : m = beta * m + (1 - beta) * x.",
           "Au rang t (le premier est 1), divisez par 1 - beta**t, comme Adam."))


@smooth_exercise.reference
def smooth(losses, beta):
    """losses : (n,) ; renvoie (n,), la moyenne glissante corrigée à chaque rang."""
    m, curve = 0.0, []
    for t, loss in enumerate(losses, start=1):
        m = beta * m + (1 - beta) * loss
        curve.append(m / (1 - beta**t))
    return np.array(curve)


@smooth_exercise.cases
def _(rng):
    yield np.array([6.0, 6.0, 6.0]), 0.9
    yield np.array([6.0, 4.0, 5.0, 3.0]), 0.5
    yield 6 * np.exp(-np.arange(20) / 10) + 0.1 * rng.normal(size=20), 0.95


@smooth_exercise.trap("La moyenne part de zéro sans correction : la courbe semble monter au début. "
                      "Divisez par 1 - beta**t.")
def _(losses, beta):
    m, curve = 0.0, []
    for loss in losses:
        m = beta * m + (1 - beta) * loss
        curve.append(m)
    return np.array(curve)


@smooth_exercise.trap("Partir de la première perte lui donne trop de poids : partez de zéro, et corrigez.")
def _(losses, beta):
    m, curve = losses[0], []
    for loss in losses:
        m = beta * m + (1 - beta) * loss
        curve.append(m)
    return np.array(curve)


@smooth_exercise.trap("beta et 1 - beta sont échangés : beta est la part du passé.")
def _(losses, beta):
    return smooth(losses, 1 - beta)


@smooth_exercise.trap("Vous corrigez m lui-même : le rang suivant repart d’une valeur déjà corrigée.")
def _(losses, beta):
    m, curve = 0.0, []
    for t, loss in enumerate(losses, start=1):
        m = (beta * m + (1 - beta) * loss) / (1 - beta**t)
        curve.append(m)
    return np.array(curve)


@smooth_exercise.trap("Le premier rang est 1, non 0 ni 2 : décalez la correction.")
def _(losses, beta):
    m, curve = 0.0, []
    for t, loss in enumerate(losses, start=2):
        m = beta * m + (1 - beta) * loss
        curve.append(m / (1 - beta**t))
    return np.array(curve)


@smooth_exercise.variant
def _(losses, beta):
    curve = []
    for n in range(1, len(losses) + 1):
        weights = beta ** np.arange(n)[::-1]
        curve.append(np.average(losses[:n], weights=weights))
    return np.array(curve)


loop_exercise = Exercise(
    "ex-boucle-entiere", title="La boucle entière, en numpy", level="difficile", minutes=40,
    hints=("À chaque pas : moyenne des gradients de ses passages, écrêtage, taux, mise à jour.",
           "Le passage k du pas t est batches[t * accumulate + k].",
           "Le taux du pas t (de 0) est rate * min(1, t / warmup) ; la norme, celle du gradient moyen."))


@loop_exercise.reference
def fit(w, batches, gradient, steps, accumulate, rate, warmup, clip):
    """w : (n,) ; gradient(w, batch) -> (n,) ; renvoie (poids finals (n,), normes (steps,))."""
    w, norms = w.copy(), []
    for t in range(steps):
        g = np.zeros_like(w)
        for batch in batches[t * accumulate : (t + 1) * accumulate]:
            g = g + gradient(w, batch) / accumulate
        norm = np.linalg.norm(g)
        norms.append(norm)
        g = g * min(1.0, clip / norm)
        w = w - rate * min(1.0, t / warmup) * g
    return w, np.array(norms)


class _LeastSquares:
    """Gradient de ½ (a·w - b)² en moyenne sur un lot (a, b) ; affiché en une ligne stable."""

    def __call__(self, w, batch):
        return batch[:, :-1].T @ (batch[:, :-1] @ w - batch[:, -1]) / len(batch)

    def __repr__(self):
        return "gradient des moindres carrés d’un lot"


@loop_exercise.cases
def _(rng):
    data = rng.normal(size=(12, 5, 4))
    yield np.zeros(3), data, _LeastSquares(), 4, 3, 0.3, 2, 0.5
    yield rng.normal(size=3), data, _LeastSquares(), 6, 2, 0.1, 3, 100.0
    yield np.ones(3), data, _LeastSquares(), 12, 1, 0.2, 5, 0.2


def _fit(w, batches, gradient, steps, accumulate, rate, warmup, clip, *, shift=0, kept=False,
         each=False, total=False, cut=True, warm=True, after=False, only=None, walk=False):
    w, norms, g = w.copy(), [], np.zeros_like(w)
    for t in range(steps):
        g = g if kept else np.zeros_like(w)
        first = t if only else t * accumulate
        for batch in batches[first : first + (1 if only else accumulate)]:
            part = gradient(w, batch)
            part = part * min(1.0, clip / np.linalg.norm(part)) if each else part
            g = g + part / (1 if total or only else accumulate)
            if walk:
                w = w - rate * min(1.0, t / warmup) * part * min(1.0, clip / np.linalg.norm(part))
        norm = np.linalg.norm(g)
        factor = min(1.0, clip / norm) if cut and not each else 1.0
        norms.append(norm * factor if after else norm)
        if not walk:
            w = w - rate * (min(1.0, (t + shift) / warmup) if warm else 1.0) * g * factor
    return w, np.array(norms)


@loop_exercise.trap("Les passages s’additionnent sans être moyennés : divisez par accumulate.")
def _(*args):
    return _fit(*args, total=True)


@loop_exercise.trap("Le gradient n’est jamais remis à zéro : chaque pas suit aussi les précédents.")
def _(*args):
    return _fit(*args, kept=True)


@loop_exercise.trap("Vous écrêtez chaque passage : il faut écrêter une fois, le gradient moyen du pas.")
def _(*args):
    return _fit(*args, each=True)


@loop_exercise.trap("Vous renvoyez la norme d’après l’écrêtage : celle d’avant dénonce les accidents.")
def _(*args):
    return _fit(*args, after=True)


@loop_exercise.trap("L’écrêtage manque : réduisez le gradient quand sa norme dépasse clip.")
def _(*args):
    return _fit(*args, cut=False)


@loop_exercise.trap("L’échauffement manque : le taux du pas t est rate * min(1, t / warmup).")
def _(*args):
    return _fit(*args, warm=False)


@loop_exercise.trap("L’échauffement est décalé d’un pas : ici le premier pas, t = 0, a un taux nul.")
def _(*args):
    return _fit(*args, shift=1)


@loop_exercise.trap("Vous faites un pas par passage : les poids ne changent qu’une fois par pas, après "
                    "tous ses passages.")
def _(*args):
    return _fit(*args, walk=True)


@loop_exercise.trap("Vous n’employez qu’un passage par pas : chaque pas en lit accumulate.")
def _(*args):
    return _fit(*args, only=True)


@loop_exercise.trap("Renvoyez aussi les normes : (poids, normes).")
def _(*args):
    return fit(*args)[0]


@loop_exercise.variant
def _(w, batches, gradient, steps, accumulate, rate, warmup, clip):
    norms = np.empty(steps)
    for t, group in enumerate(np.split(batches[: steps * accumulate], steps)):
        g = np.mean([gradient(w, batch) for batch in group], axis=0)
        norms[t] = np.sqrt(g @ g)
        length = min(norms[t], clip)
        w = w - rate * min(t, warmup) / warmup * length * (g / norms[t])
    return w, norms
