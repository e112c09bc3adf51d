"""Exercices de la section « QLoRA et la mémoire »."""

import numpy as np

from llmbook.exercise import Exercise

bytes_exercise = Exercise(
    "ex-qlora-octets",
    title="Les octets d’une base",
    level="facile",
    minutes=4,
    hints=(
        "Huit bits font un octet.",
        "Seules les matrices des couches sont rangées sur `bits` bits ; les autres paramètres "
        "(plongements, normes, tête) restent en clair.",
    ),
)


@bytes_exercise.reference
def base_bytes(layers, others, bits, width):
    """Octets d’une base dont seules les matrices des couches sont quantifiées."""
    return layers * bits / 8 + others * width


@bytes_exercise.cases
def _(rng):
    yield 6_476_005_376, 262_410_240, 4.127, 2
    yield 4_423_680, 1_051_904, 4.127, 4
    yield 1000, 200, 8, 2


@bytes_exercise.trap("Vous comptez en bits : divisez par 8.")
def _(layers, others, bits, width):
    return layers * bits + others * width


@bytes_exercise.trap("Les plongements et la tête ne sont pas quantifiés : comptez-les en clair.")
def _(layers, others, bits, width):
    return (layers + others) * bits / 8


@bytes_exercise.trap("Les autres paramètres manquent : ils se stockent aussi.")
def _(layers, others, bits, width):
    return layers * bits / 8


@bytes_exercise.trap("width est déjà en octets : ne le divisez pas par 8.")
def _(layers, others, bits, width):
    return (layers * bits + others * width) / 8


@bytes_exercise.variant
def _(layers, others, bits, width):
    return (layers * bits + others * 8 * width) / 8


peak_exercise = Exercise(
    "ex-qlora-pointe",
    title="Trois instants",
    level="moyen",
    minutes=8,
    hints=(
        "Trois postes durent : poids, adaptateurs, moments.",
        "Écrivez les trois sommes passagères, puis prenez la plus grande.",
        "À la perte : copies, activations, logits. Dans la dernière couche : activations, couche, "
        "déquantifiée. Dans la première : gradients, couche, déquantifiée.",
    ),
)


@peak_exercise.reference
def peak(p):
    """Le plus grand total d’un pas ; p : octets par poste."""
    lasting = p["weights"] + p["adapters"] + p["moments"]
    loss = p["copies"] + p["activations"] + p["logits"]
    last = p["activations"] + p["layer"] + p["unpacked"]
    first = p["gradients"] + p["layer"] + p["unpacked"]
    return lasting + max(loss, last, first)


_POSTS = (
    "weights",
    "adapters",
    "gradients",
    "moments",
    "copies",
    "activations",
    "layer",
    "logits",
    "unpacked",
)


@peak_exercise.cases
def _(rng):
    for values in (
        (3866, 160, 160, 320, 0, 134, 123, 131, 191),
        (3866, 160, 160, 320, 0, 134, 123, 631, 191),
        (3866, 160, 160, 320, 0, 536, 123, 131, 191),
        (200, 10, 40, 20, 90, 30, 25, 60, 0),
        (100, 5, 80, 10, 0, 20, 12, 6, 7),
    ):
        yield (dict(zip(_POSTS, values, strict=True)),)


@peak_exercise.trap("Vous additionnez tous les postes : ils ne sont pas tous là au même instant.")
def _(p):
    return sum(p.values())


@peak_exercise.trap("Le premier instant manque : la perte, avec les copies et les logits.")
def _(p):
    turn = p["layer"] + p["unpacked"]
    lasting = p["weights"] + p["adapters"] + p["moments"]
    return lasting + max(p["activations"], p["gradients"]) + turn


@peak_exercise.trap("Le dernier instant manque : tous les gradients, dans la première couche.")
def _(p):
    lasting = p["weights"] + p["adapters"] + p["moments"]
    loss = p["copies"] + p["activations"] + p["logits"]
    return lasting + max(loss, p["activations"] + p["layer"] + p["unpacked"])


@peak_exercise.trap("Les moments d’AdamW durent d’un pas à l’autre : ajoutez-les.")
def _(p):
    return peak(p) - p["moments"]


@peak_exercise.trap("La matrice déquantifiée et la couche en cours manquent à la fin de l’arrière.")
def _(p):
    lasting = p["weights"] + p["adapters"] + p["moments"]
    loss = p["copies"] + p["activations"] + p["logits"]
    last = p["activations"] + p["layer"] + p["unpacked"]
    return lasting + max(loss, last, p["gradients"])


@peak_exercise.variant
def _(p):
    instants = (
        ("copies", "activations", "logits"),
        ("activations", "layer", "unpacked"),
        ("gradients", "layer", "unpacked"),
    )
    durable = ("weights", "adapters", "moments")
    return max(sum(p[name] for name in (*durable, *names)) for names in instants)


backward_exercise = Exercise(
    "ex-qlora-arriere",
    title="La passe arrière, sans autograd",
    level="moyen",
    minutes=15,
    hints=(
        "Deux chemins mènent de x à y : par W et par l’adaptateur. Leurs gradients s’ajoutent.",
        "dy @ B est (T, r) : calculez-le une fois, il sert à dx et à dA.",
        "W est gelée : elle n’a pas de gradient, mais elle en transmet un à x.",
    ),
)


@backward_exercise.reference
def backward(x, dy, W, A, B, s):
    """(dx, dA, dB) d’une couche y = x Wᵀ + s (x Aᵀ) Bᵀ."""
    inner = s * dy @ B  # (T, r)
    return dy @ W + inner @ A, inner.T @ x, s * dy.T @ (x @ A.T)


@backward_exercise.cases
def _(rng):
    for T, m, n, r in ((1, 3, 4, 2), (5, 6, 4, 3), (7, 8, 16, 1)):
        yield (
            rng.normal(size=(T, n)),
            rng.normal(size=(T, m)),
            rng.normal(size=(m, n)),
            rng.normal(size=(r, n)),
            rng.normal(size=(m, r)),
            2.0 + r,
        )


@backward_exercise.trap("L’échelle s manque aux gradients de l’adaptateur.")
def _(x, dy, W, A, B, s):
    inner = dy @ B
    return dy @ W + s * inner @ A, inner.T @ x, dy.T @ (x @ A.T)


@backward_exercise.trap("dx a deux termes : la base gelée transmet aussi le gradient.")
def _(x, dy, W, A, B, s):
    inner = s * dy @ B
    return inner @ A, inner.T @ x, s * dy.T @ (x @ A.T)


@backward_exercise.trap("dx a deux termes : celui de l’adaptateur manque.")
def _(x, dy, W, A, B, s):
    inner = s * dy @ B
    return dy @ W, inner.T @ x, s * dy.T @ (x @ A.T)


@backward_exercise.trap("L’échelle est comptée deux fois.")
def _(x, dy, W, A, B, s):
    inner = s * dy @ B
    return dy @ W + s * inner @ A, s * inner.T @ x, s * s * dy.T @ (x @ A.T)


@backward_exercise.variant
def _(x, dy, W, A, B, s):
    dx = dy @ (W + s * B @ A)
    dM = s * dy.T @ x  # le gradient de la matrice B A, entière
    return dx, B.T @ dM, dM @ A.T


length_exercise = Exercise(
    "ex-qlora-longueur",
    title="Le plus long exemple",
    level="facile",
    minutes=6,
    hints=(
        "La place utile est (1 - reserve) * card.",
        "Retirez fixed, divisez par per_token, puis descendez au multiple inférieur.",
        "Si fixed dépasse déjà la place, la réponse est 0.",
    ),
)


@length_exercise.reference
def longest_example(card, reserve, fixed, per_token, multiple):
    """Plus grand T, multiple de `multiple`, tel que fixed + per_token T tienne ; 0 sinon."""
    room = (1 - reserve) * card - fixed
    return max(0, int(room // (per_token * multiple)) * multiple)


@length_exercise.cases
def _(rng):
    yield 24e9, 0.05, 4.7e9, 0.52e6, 256
    yield 16e9, 0.05, 14.3e9, 0.5e6, 64
    yield 10e9, 0.1, 9.5e9, 1e6, 64
    yield 24e9, 0.0, 4e9, 1e6, 128
    yield 8e9, 0.05, 7.5e9, 1e6, 256


@length_exercise.trap("La réserve est oubliée : une part de la carte ne doit pas servir.")
def _(card, reserve, fixed, per_token, multiple):
    return max(0, int((card - fixed) // (per_token * multiple)) * multiple)


@length_exercise.trap("Un résultat négatif n’a pas de sens : si rien ne tient, renvoyez 0.")
def _(card, reserve, fixed, per_token, multiple):
    room = (1 - reserve) * card - fixed
    return int(room // (per_token * multiple)) * multiple


@length_exercise.trap("Vous arrondissez au multiple le plus proche ou supérieur : cela déborde.")
def _(card, reserve, fixed, per_token, multiple):
    room = (1 - reserve) * card - fixed
    return max(0, int(-(-room // (per_token * multiple))) * multiple)


@length_exercise.trap("Le résultat doit être un multiple de `multiple`.")
def _(card, reserve, fixed, per_token, multiple):
    return max(0, int(((1 - reserve) * card - fixed) // per_token))


@length_exercise.variant
def _(card, reserve, fixed, per_token, multiple):
    T = 0
    while fixed + per_token * (T + multiple) <= (1 - reserve) * card:
        T += multiple
    return T


page_exercise = Exercise(
    "ex-qlora-page",
    title="AdamW, page par page",
    level="difficile",
    minutes=30,
    hints=(
        "for i in range(0, len(w), page) : la dernière page peut être plus courte.",
        "t est le numéro du pas, le même pour toutes les pages.",
        "Copiez d’abord w, m et v ; écrivez chaque page calculée à sa place dans les copies.",
    ),
)


@page_exercise.reference
def paged_step(w, g, m, v, t, page, lr, beta1, beta2, eps, decay):
    """Un pas d’AdamW, `page` nombres à la fois ; renvoie (w, m, v)."""
    w, m, v = w.copy(), m.copy(), v.copy()
    for i in range(0, len(w), page):
        here = slice(i, i + page)
        m[here] = beta1 * m[here] + (1 - beta1) * g[here]
        v[here] = beta2 * v[here] + (1 - beta2) * g[here] ** 2
        root = np.sqrt(v[here] / (1 - beta2**t)) + eps
        w[here] = (1 - lr * decay) * w[here] - lr * m[here] / (1 - beta1**t) / root
    return w, m, v


@page_exercise.cases
def _(rng):
    for size, t, page in ((12, 1, 4), (10, 3, 4), (5, 7, 8), (9, 2, 1)):
        w, g, m = rng.normal(size=(3, size))
        v = rng.uniform(0.1, 1, size)
        yield w, g, 0.1 * m, v, t, page, 0.1, 0.9, 0.99, 1e-3, 0.2


def _paged(w, g, m, v, t, page, lr, beta1, beta2, eps, decay, stop=None, count=None, coupled=False):
    w, m, v = w.copy(), m.copy(), v.copy()
    for number, i in enumerate(range(0, stop or len(w), page)):
        here = slice(i, i + page)
        k = t + number if count else t
        grad = g[here] + decay * w[here] if coupled else g[here]
        m[here] = beta1 * m[here] + (1 - beta1) * grad
        v[here] = beta2 * v[here] + (1 - beta2) * grad**2
        root = np.sqrt(v[here] / (1 - beta2**k)) + eps
        shrunk = w[here] if coupled else (1 - lr * decay) * w[here]
        w[here] = shrunk - lr * m[here] / (1 - beta1**k) / root
    return w, m, v


@page_exercise.trap(
    "La correction de biais dépend du pas, pas de la page : t ne change pas en route."
)
def _(*args):
    return _paged(*args, count=True)


@page_exercise.trap("La dernière page, plus courte, n’est pas traitée.")
def _(w, g, m, v, t, page, *rest):
    whole = len(w) // page * page
    return _paged(w, g, m, v, t, page, *rest, stop=whole) if whole else (w, m, v)


@page_exercise.trap("Vous ajoutez la décroissance au gradient : c’est Adam avec L2. AdamW l’applique "
                    "à w, à part.")  # fmt: skip
def _(*args):
    return _paged(*args, coupled=True)


@page_exercise.trap("La correction de biais manque : divisez m et v par 1 - β^t.")
def _(w, g, m, v, t, page, lr, beta1, beta2, eps, decay):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return (1 - lr * decay) * w - lr * m / (np.sqrt(v) + eps), m, v


@page_exercise.trap(
    "Les nouveaux moments ne sont pas rendus : le pas suivant repartirait des anciens."
)
def _(w, g, m, v, *rest):
    return _paged(w, g, m, v, *rest)[0], m, v


@page_exercise.variant
def _(w, g, m, v, t, page, lr, beta1, beta2, eps, decay):
    parts = []
    for i in range(0, len(w), page):
        a, b, c, d = (x[i : i + page] for x in (w, g, m, v))
        c, d = c + (1 - beta1) * (b - c), d + (1 - beta2) * (b * b - d)
        step = (c / (1 - beta1**t)) / ((d / (1 - beta2**t)) ** 0.5 + eps)
        parts.append((a - lr * decay * a - lr * step, c, d))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
