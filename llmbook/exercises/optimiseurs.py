"""Exercices de la section « Descente de gradient, de SGD à AdamW »."""

import numpy as np

from llmbook.exercise import Exercise

limit_exercise = Exercise(
    "ex-optimiseurs-limite", title="Le plus grand pas stable", level="facile", minutes=4,
    hints=("Chaque direction propre est multipliée par 1 - pas × λ ; il faut un module inférieur à 1.",
           "np.linalg.eigvalsh(H) renvoie les valeurs propres, la plus grande en dernier."))


@limit_exercise.reference
def largest_rate(H):
    """H : (n, n), symétrique définie positive ; renvoie un nombre."""
    return 2 / np.linalg.eigvalsh(H)[-1]


def _positive(rng, n):
    B = rng.normal(size=(n, n))
    return B @ B.T + 0.1 * np.eye(n)


@limit_exercise.cases
def _(rng):
    yield (np.array([[2.0, 1.0], [1.0, 2.0]]),)
    yield (_positive(rng, 4),)
    yield (_positive(rng, 7),)
    yield (np.diag([1.0, 4.0, 2.0]),)


@limit_exercise.trap("C’est 1/λmax, le pas qui annule l’erreur dans la direction la plus courbée ; "
                     "on peut aller deux fois plus loin.")
def _(H):
    return 1 / np.linalg.eigvalsh(H)[-1]


@limit_exercise.trap("Vous avez pris la plus petite courbure : c’est la plus grande qui diverge la "
                     "première.")
def _(H):
    return 2 / np.linalg.eigvalsh(H)[0]


@limit_exercise.trap("La diagonale ne suffit pas : les courbures sont les valeurs propres de H.")
def _(H):
    return 2 / np.diag(H).max()


@limit_exercise.trap("La trace est la somme des courbures ; seule la plus grande fixe la limite.")
def _(H):
    return 2 / np.trace(H)


@limit_exercise.trap("C’est le pas le plus rapide, 2/(λmin + λmax) ; on demande le plus grand qui "
                     "converge encore.")
def _(H):
    values = np.linalg.eigvalsh(H)
    return 2 / (values[0] + values[-1])


@limit_exercise.trap("np.linalg.norm(H) est la norme de Frobenius, qui mélange toutes les courbures ; "
                     "il faut la norme spectrale, np.linalg.norm(H, 2), ou eigvalsh.")
def _(H):
    return 2 / np.linalg.norm(H)


@limit_exercise.trap("np.linalg.eig ne trie pas les valeurs propres : la première n’est pas toujours la "
                     "plus grande. Prenez le maximum, ou eigvalsh, qui trie.")
def _(H):
    return 2 / np.linalg.eig(H)[0][0]


@limit_exercise.variant
def _(H):
    return 2 / np.linalg.norm(H, 2)


schedule_exercise = Exercise(
    "ex-optimiseurs-planification", title="Échauffement et cosinus", level="facile", minutes=10,
    hints=("Après l’échauffement, la fraction parcourue est (t - warmup) / (total - warmup).",
           "0.5 * (1 + cos(π s)) va de 1 à 0 quand s va de 0 à 1."))


@schedule_exercise.reference
def schedule(t, total, warmup, peak, floor):
    """Pas à l’étape t : échauffement linéaire, puis demi-cosinus de peak à floor."""
    if t < warmup:
        return peak * (t + 1) / warmup
    s = (t - warmup) / (total - warmup)
    return floor + (peak - floor) * 0.5 * (1 + np.cos(np.pi * s))


@schedule_exercise.cases
def _(rng):
    for t in (0, 4, 9, 10, 35, 99):
        yield t, 100, 10, 3e-4, 3e-5
    yield 7, 8, 0, 1.0, 0.0


@schedule_exercise.trap("L’échauffement part de zéro : le premier pas ne ferait rien. Comptez t + 1.")
def _(t, total, warmup, peak, floor):
    return peak * t / warmup if t < warmup else schedule(t, total, warmup, peak, floor)


@schedule_exercise.trap("Le cosinus commence après l’échauffement : retirez warmup à t et à total.")
def _(t, total, warmup, peak, floor):
    if t < warmup:
        return peak * (t + 1) / warmup
    return floor + (peak - floor) * 0.5 * (1 + np.cos(np.pi * t / total))


@schedule_exercise.trap("Le cosinus descend jusqu’à 0 au lieu de floor.")
def _(t, total, warmup, peak, floor):
    return schedule(t, total, warmup, peak, 0.0)


@schedule_exercise.trap("Le plancher s’ajoute à tout le cosinus : au sommet vous dépassez peak. "
                        "L’amplitude est peak - floor.")
def _(t, total, warmup, peak, floor):
    return schedule(t, total, warmup, peak, 0.0) + (floor if t >= warmup else 0.0)


@schedule_exercise.trap("C’est un cosinus complet : il remonte. L’angle va de 0 à π, pas à 2π.")
def _(t, total, warmup, peak, floor):
    if t < warmup:
        return peak * (t + 1) / warmup
    s = (t - warmup) / (total - warmup)
    return floor + (peak - floor) * 0.5 * (1 + np.cos(2 * np.pi * s))


def _after(t, total, warmup, peak, floor, shape):
    if t < warmup:
        return peak * (t + 1) / warmup
    return floor + (peak - floor) * shape((t - warmup) / (total - warmup))


@schedule_exercise.trap("Votre cosinus monte : après l’échauffement le pas vaut floor au lieu de peak. "
                        "C’est 1 + cos, pas 1 - cos.")
def _(t, total, warmup, peak, floor):
    return _after(t, total, warmup, peak, floor, lambda s: 0.5 * (1 - np.cos(np.pi * s)))


@schedule_exercise.trap("C’est une décroissance linéaire ; on demande un demi-cosinus.")
def _(t, total, warmup, peak, floor):
    return _after(t, total, warmup, peak, floor, lambda s: 1 - s)


@schedule_exercise.trap("C’est un quart de cosinus, qui arrive à floor sans ralentir. "
                        "L’angle va de 0 à π, et 0.5 * (1 + cos) de 1 à 0.")
def _(t, total, warmup, peak, floor):
    return _after(t, total, warmup, peak, floor, lambda s: np.cos(np.pi * s / 2))


@schedule_exercise.trap("Il manque le facteur 0.5 : 1 + cos va de 2 à 0, et le pas dépasse peak.")
def _(t, total, warmup, peak, floor):
    return _after(t, total, warmup, peak, floor, lambda s: 1 + np.cos(np.pi * s))


@schedule_exercise.trap("L’échauffement finit à t = warmup - 1 : à t = warmup, le pas est peak. Votre "
                        "test est t <= warmup au lieu de t < warmup.")
def _(t, total, warmup, peak, floor):
    if t <= warmup and warmup:
        return peak * (t + 1) / warmup
    return schedule(t, total, warmup, peak, floor)


@schedule_exercise.trap("Votre cosinus descend à 0, et floor le coupe en route : c’est l’amplitude, "
                        "peak - floor, qui doit changer.")
def _(t, total, warmup, peak, floor):
    return schedule(t, total, warmup, peak, 0.0) if t < warmup else max(
        floor, schedule(t, total, warmup, peak, 0.0))


@schedule_exercise.trap("Vous atteignez floor au dernier pas, t = total - 1 ; l’énoncé le place à "
                        "t = total : divisez par total - warmup.")
def _(t, total, warmup, peak, floor):
    return schedule(t, total - 1, warmup, peak, floor)


@schedule_exercise.variant
def _(t, total, warmup, peak, floor):
    rising = peak * np.arange(1, warmup + 1) / max(warmup, 1)
    angles = np.linspace(0, np.pi, total - warmup, endpoint=False)
    return np.r_[rising, floor + (peak - floor) * np.cos(angles / 2) ** 2][t]


clip_exercise = Exercise(
    "ex-optimiseurs-ecretage", title="Écrêter tout un modèle", level="moyen", minutes=10,
    hints=("La norme globale est la racine de la somme des carrés de tous les coefficients.",
           "Le facteur est min(1, c / norme), le même pour tous les tableaux."))


def _global_norm(grads):
    return np.sqrt(sum((g**2).sum() for g in grads))


@clip_exercise.reference
def clip_all(grads, c):
    """grads : liste de tableaux ; renvoie une liste de mêmes formes."""
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    return [g * min(1.0, c / norm) for g in grads]


@clip_exercise.cases
def _(rng):
    yield [np.array([3.0, 0.0]), np.array([[0.0], [4.0]])], 1.0
    yield [rng.normal(size=(3, 2)), rng.normal(size=4), rng.normal(size=(2, 2))], 2.0
    yield [0.1 * rng.normal(size=(3, 2)), 0.1 * rng.normal(size=4)], 1.0


@clip_exercise.trap("Chaque tableau est écrêté à part : la direction du gradient change. "
                    "La norme est celle de tout le modèle.")
def _(grads, c):
    return [g * min(1.0, c / np.linalg.norm(g)) for g in grads]


@clip_exercise.trap("Vous bornez chaque coefficient : c’est l’écrêtage par valeur, qui change la "
                    "direction.")
def _(grads, c):
    return [np.clip(g, -c, c) for g in grads]


@clip_exercise.trap("Un gradient plus petit que c ne doit pas être agrandi : le facteur ne dépasse "
                    "pas 1.")
def _(grads, c):
    return [g * c / _global_norm(grads) for g in grads]


@clip_exercise.trap("Les normes ne s’additionnent pas : additionnez leurs carrés, puis prenez la "
                    "racine.")
def _(grads, c):
    return [g * min(1.0, c / sum(np.linalg.norm(h) for h in grads)) for g in grads]


@clip_exercise.trap("La racine manque : vous comparez c au carré de la norme.")
def _(grads, c):
    return [g * min(1.0, c / _global_norm(grads) ** 2) for g in grads]


@clip_exercise.trap("La norme ramenée vaut 1 au lieu de c : multipliez par c / norme.")
def _(grads, c):
    norm = _global_norm(grads)
    return [g / norm if norm > c else g for g in grads]


@clip_exercise.trap("Vous mesurez le plus grand coefficient : il faut la norme, racine de la somme des "
                    "carrés de tous.")
def _(grads, c):
    return [g * min(1.0, c / max(np.abs(h).max() for h in grads)) for g in grads]


@clip_exercise.trap("Vous prenez la plus grande des normes ; la norme globale réunit tous les tableaux.")
def _(grads, c):
    return [g * min(1.0, c / max(np.linalg.norm(h) for h in grads)) for g in grads]


@clip_exercise.trap("Le facteur est min(1, c / norme) : avec max, rien n’est jamais réduit.")
def _(grads, c):
    return [g * max(1.0, c / _global_norm(grads)) for g in grads]


@clip_exercise.trap("Renvoyez une liste de tableaux de mêmes formes, non un vecteur mis bout à bout.")
def _(grads, c):
    return np.concatenate([(g * min(1.0, c / _global_norm(grads))).ravel() for g in grads])


@clip_exercise.variant
def _(grads, c):
    flat = np.concatenate([g.ravel() for g in grads])
    length = np.linalg.norm(flat)
    flat = flat / length * min(length, c)
    ends = np.cumsum([g.size for g in grads])[:-1]
    return [part.reshape(g.shape) for part, g in zip(np.split(flat, ends), grads, strict=True)]


adam_exercise = Exercise(
    "ex-optimiseurs-adam", title="Adam, d’une traite", level="moyen", minutes=15,
    hints=("Deux moyennes glissantes, de zéro : celle de g et celle de g², coordonnée par coordonnée.",
           "Au pas t (le premier est 1), divisez-les par 1 - beta1**t et 1 - beta2**t.",
           "eps s’ajoute après la racine."))


@adam_exercise.reference
def adam_steps(w, grads, rate, beta1, beta2, eps):
    """w : (n,) ; grads : (T, n) ; renvoie (n,)."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w


@adam_exercise.cases
def _(rng):
    yield np.array([1.0, -2.0]), np.array([[0.5, 4.0]]), 0.1, 0.9, 0.99, 1e-8
    yield rng.normal(size=3), rng.normal(size=(4, 3)), 0.05, 0.9, 0.95, 1e-8
    yield rng.normal(size=2), 0.1 * rng.normal(size=(6, 2)), 0.01, 0.8, 0.999, 1e-3


def _adam(w, grads, rate, beta1, beta2, eps, fix1=True, fix2=True, inside=False, first=1):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=first):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        a = m / (1 - beta1**t) if fix1 else m
        b = v / (1 - beta2**t) if fix2 else v
        w = w - rate * a / (np.sqrt(b + eps) if inside else np.sqrt(b) + eps)
    return w


@adam_exercise.trap("La correction du démarrage manque : divisez m et v par 1 - beta**t.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta1, beta2, eps, fix1=False, fix2=False)


@adam_exercise.trap("Seule m est corrigée : v, plus lente, en a encore plus besoin.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta1, beta2, eps, fix2=False)


@adam_exercise.trap("eps est dans la racine : il s’ajoute après, sinon il pèse bien plus.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta1, beta2, eps, inside=True)


@adam_exercise.trap("Le premier pas porte le numéro 1 : vous corrigez comme s’il portait le numéro 2.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta1, beta2, eps, first=2)


@adam_exercise.trap("La racine de v manque : le pas dépend alors de l’échelle du gradient, en 1/g.")
def _(w, grads, rate, beta1, beta2, eps):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**t)) / (v / (1 - beta2**t) + eps)
    return w


@adam_exercise.trap("Le signe est faux : on retire le pas, on ne l’ajoute pas.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, -rate, beta1, beta2, eps)


@adam_exercise.trap("Seule v est corrigée : m, partie de zéro elle aussi, est trop petite au début.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta1, beta2, eps, fix1=False)


@adam_exercise.trap("beta1 et beta2 sont échangés : beta1 est pour m, beta2 pour v.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, beta2, beta1, eps)


@adam_exercise.trap("Vous rangez les valeurs corrigées dans m et v : le pas suivant repart d’elles. "
                    "Gardez les moyennes brutes, et corrigez une copie.")
def _(w, grads, rate, beta1, beta2, eps):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
        v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
        w = w - rate * m / (np.sqrt(v) + eps)
    return w


@adam_exercise.trap("Vous divisez toujours par 1 - beta : la correction dépend du pas, 1 - beta**t.")
def _(w, grads, rate, beta1, beta2, eps):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for g in grads:
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1)) / (np.sqrt(v / (1 - beta2)) + eps)
    return w


@adam_exercise.trap("Il manque 1 - beta devant g et g² : ce sont des moyennes, non des sommes.")
def _(w, grads, rate, beta1, beta2, eps):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m, v = beta1 * m + g, beta2 * v + g**2
        w = w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w


@adam_exercise.trap("Le numérateur est le gradient du pas : Adam y met sa moyenne glissante m.")
def _(w, grads, rate, beta1, beta2, eps):
    return _adam(w, grads, rate, 0.0, beta2, eps)


@adam_exercise.variant
def _(w, grads, rate, beta1, beta2, eps):
    """Les moyennes écrites comme des sommes pondérées de tous les gradients passés."""
    w = w.copy()
    for t in range(1, len(grads) + 1):
        age = np.arange(t)[::-1]
        first, second = beta1**age, beta2**age
        mean = first @ grads[:t] / first.sum()
        square = second @ grads[:t] ** 2 / second.sum()
        w -= rate * mean / (np.sqrt(square) + eps)
    return w


adamw_exercise = Exercise(
    "ex-optimiseurs-adamw", title="Un pas d’AdamW", level="moyen", minutes=12,
    hints=("La décroissance multiplie w par 1 - rate * decay, sans toucher ni g, ni m, ni v.",
           "Le reste est un pas d’Adam, avec ses deux corrections au pas t."))


@adamw_exercise.reference
def adamw_step(w, g, m, v, t, rate, decay):
    """w, g, m, v : (n,) ; t commence à 1 ; renvoie (w, m, v)."""
    m = 0.9 * m + 0.1 * g
    v = 0.95 * v + 0.05 * g**2
    adaptive = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
    return w * (1 - rate * decay) - rate * adaptive, m, v


@adamw_exercise.cases
def _(rng):
    yield np.array([1.0, -2.0, 3.0]), np.array([0.5, 0.1, -0.2]), np.zeros(3), np.zeros(3), 1, 0.1, 0.5
    yield rng.normal(size=4), rng.normal(size=4), rng.normal(size=4), rng.random(4), 7, 0.01, 0.1


def _adamw(w, g, m, v, t, rate):
    m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
    return (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8), m, v


@adamw_exercise.trap("La décroissance est passée dans le gradient : c’est Adam avec une pénalité L2. "
                     "Elle doit rester hors de m et de v.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g + decay * w, m, v, t, rate)
    return w - rate * adaptive, m, v


@adamw_exercise.trap("La décroissance n’est pas multipliée par le pas : w perd decay × w à chaque pas.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g, m, v, t, rate)
    return w * (1 - decay) - rate * adaptive, m, v


@adamw_exercise.trap("La décroissance s’applique aux poids d’avant le pas ; vous avez aussi réduit le "
                     "pas d’Adam.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g, m, v, t, rate)
    return (w - rate * adaptive) * (1 - rate * decay), m, v


@adamw_exercise.trap("Aucune décroissance : c’est un pas d’Adam.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g, m, v, t, rate)
    return w - rate * adaptive, m, v


@adamw_exercise.trap("Vous renvoyez les moyennes corrigées : le pas suivant les corrigerait encore. "
                     "Gardez m et v brutes.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g, m, v, t, rate)
    return w * (1 - rate * decay) - rate * adaptive, m / (1 - 0.9**t), v / (1 - 0.95**t)


@adamw_exercise.trap("La décroissance fait grandir les poids : c’est 1 - rate * decay.")
def _(w, g, m, v, t, rate, decay):
    adaptive, m, v = _adamw(w, g, m, v, t, rate)
    return w * (1 + rate * decay) - rate * adaptive, m, v


@adamw_exercise.trap("Les corrections du démarrage manquent : divisez m par 1 - 0.9**t et v par "
                     "1 - 0.95**t.")
def _(w, g, m, v, t, rate, decay):
    m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
    return w * (1 - rate * decay) - rate * m / (np.sqrt(v) + 1e-8), m, v


@adamw_exercise.trap("β2 vaut 0,999 dans votre code ; l’énoncé demande 0,95.")
def _(w, g, m, v, t, rate, decay):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    adaptive = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w * (1 - rate * decay) - rate * adaptive, m, v


@adamw_exercise.trap("Les poids sont justes, mais on demande le triplet (w, m, v).")
def _(w, g, m, v, t, rate, decay):
    return adamw_step(w, g, m, v, t, rate, decay)[0]


@adamw_exercise.trap("L’ordre est (w, m, v) : les poids d’abord.")
def _(w, g, m, v, t, rate, decay):
    w, m, v = adamw_step(w, g, m, v, t, rate, decay)
    return m, v, w


@adamw_exercise.variant
def _(w, g, m, v, t, rate, decay):
    m = m + (g - m) / 10
    v = v + (g * g - v) / 20
    scale = np.sqrt(1 - 0.95**t) / (1 - 0.9**t)
    moved = rate * scale * m / (np.sqrt(v) + 1e-8 * np.sqrt(1 - 0.95**t))
    return w - moved - rate * decay * w, m, v


sharpness_exercise = Exercise(
    "ex-optimiseurs-courbure", title="La courbure sans la hessienne", level="difficile", minutes=25,
    rtol=2e-3,
    hints=("H v ≈ (gradient(w + h v) - gradient(w - h v)) / 2h, avec v de norme 1 et h petit (1e-4).",
           "Appliquez H à répétition en normalisant : c’est l’itération de la puissance.",
           "L’estimation de la valeur propre est le quotient de Rayleigh v @ Hv. "
           "Cent cinquante tours font trois cents appels."))


@sharpness_exercise.reference
def sharpness(gradient, w, start):
    """gradient : (n,) -> (n,) ; renvoie un nombre."""
    v, h = start / np.linalg.norm(start), 1e-4
    for _ in range(150):
        image = (gradient(w + h * v) - gradient(w - h * v)) / (2 * h)   # H v
        value = v @ image
        v = image / np.linalg.norm(image)
    return value


class _Quadratic:
    """Gradient de ½ xᵀHx + cᵀx ; affiché en une ligne stable."""

    def __init__(self, H, c):
        self.H, self.c = H, c

    def __call__(self, w):
        return self.H @ w + self.c

    def __repr__(self):
        return f"gradient d’une quadratique de dimension {len(self.c)}"


class _Logistic:
    """Gradient d’une régression logistique."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __call__(self, w):
        return self.X.T @ (1 / (1 + np.exp(-self.X @ w)) - self.y) / len(self.y)

    def __repr__(self):
        return "gradient d’une régression logistique"


@sharpness_exercise.cases
def _(rng):
    Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    H = (Q * np.array([9.0, 6.0, 3.0, 1.0, 0.5, 0.1])) @ Q.T
    yield _Quadratic(H, rng.normal(size=6)), rng.normal(size=6), np.ones(6)
    X = rng.normal(size=(80, 3)) * np.array([3.0, 1.0, 0.3])
    yield _Logistic(X, (rng.random(80) < 0.5).astype(float)), 0.2 * rng.normal(size=3), np.ones(3)


@sharpness_exercise.trap("Vous suivez le gradient lui-même, pas sa variation : il faut une différence "
                         "de deux gradients.")
def _(gradient, w, start):
    v = start / np.linalg.norm(start)
    return np.linalg.norm(gradient(w + 1e-4 * v))


@sharpness_exercise.trap("Un seul produit donne la courbure dans la direction de départ, pas la plus "
                         "grande : recommencez.")
def _(gradient, w, start):
    v, h = start / np.linalg.norm(start), 1e-4
    return v @ (gradient(w + h * v) - gradient(w - h * v)) / (2 * h)


@sharpness_exercise.trap("La différence centrée couvre 2h : vous avez divisé par h.")
def _(gradient, w, start):
    return 2 * sharpness(gradient, w, start)


@sharpness_exercise.trap("Vous avez renvoyé la limite de stabilité 2/λ ; on demande λ.")
def _(gradient, w, start):
    return 2 / sharpness(gradient, w, start)


@sharpness_exercise.trap("C’est la plus grande coordonnée de H v : la valeur propre est v @ Hv, ou la "
                         "norme de Hv.")
def _(gradient, w, start):
    v = start / np.linalg.norm(start)
    for _ in range(150):
        image = (gradient(w + 1e-4 * v) - gradient(w - 1e-4 * v)) / 2e-4
        v = image / np.linalg.norm(image)
    return image.max()


@sharpness_exercise.trap("Vous différenciez autour de zéro : la hessienne est demandée en w.")
def _(gradient, w, start):
    return sharpness(gradient, np.zeros_like(w), start)


@sharpness_exercise.trap("Vous itérez sur gradient(v), qui n’est pas linéaire en v : appliquez H, par une "
                         "différence de gradients autour de w.")
def _(gradient, w, start):
    v = start / np.linalg.norm(start)
    for _ in range(150):
        image = gradient(v)
        value, v = v @ image, image / np.linalg.norm(image)
    return value


@sharpness_exercise.variant
def _(gradient, w, start):
    """Lanczos : la hessienne réduite au sous-espace de Krylov."""
    basis = [start / np.linalg.norm(start)]
    products = []
    for _ in range(min(len(w), 30)):
        products.append((gradient(w + 1e-4 * basis[-1]) - gradient(w - 1e-4 * basis[-1])) / 2e-4)
        rest = products[-1] - sum((products[-1] @ q) * q for q in basis)
        rest = rest - sum((rest @ q) * q for q in basis)
        if np.linalg.norm(rest) < 1e-8:
            break
        basis.append(rest / np.linalg.norm(rest))
    small = np.array([[q @ image for image in products] for q in basis[: len(products)]])
    return np.linalg.eigvalsh((small + small.T) / 2)[-1]
