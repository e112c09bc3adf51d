"""Exercices de la section « ΔW = BA »."""

import numpy as np

from llmbook.exercise import Exercise

count_exercise = Exercise(
    "ex-formule-compte", title="Requêtes et valeurs", level="facile", minutes=8,
    hints=("q_proj a H d sorties, v_proj en a Hkv d ; toutes deux ont hidden_size entrées.",
           "r (m + n) par matrice, deux matrices par couche."))


@count_exercise.reference
def query_value_parameters(config, r):
    """config : dictionnaire au format de config.json ; renvoie un entier."""
    n, heads = config["hidden_size"], config["num_attention_heads"]
    d = config.get("head_dim") or n // heads
    kv_heads = config.get("num_key_value_heads") or heads
    return config["num_hidden_layers"] * r * ((heads * d + n) + (kv_heads * d + n))


@count_exercise.cases
def _(rng):
    llama3 = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
              "num_hidden_layers": 32}  # fmt: skip
    yield llama3, 8
    yield {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}, 4
    yield {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
           "num_hidden_layers": 28, "head_dim": 128}, 16  # fmt: skip


@count_exercise.trap("v_proj n’a que num_key_value_heads têtes en sortie : elle n’est pas carrée.")
def _(config, r):
    return query_value_parameters(config | {"num_key_value_heads": None}, r)


@count_exercise.trap("Il y a une paire de matrices par couche : multipliez par num_hidden_layers.")
def _(config, r):
    return query_value_parameters(config | {"num_hidden_layers": 1}, r)


@count_exercise.trap("Comptez r (m + n) par matrice, pas r m n.")
def _(config, r):
    n, heads = config["hidden_size"], config["num_attention_heads"]
    d = config.get("head_dim") or n // heads
    kv = config.get("num_key_value_heads") or heads
    return config["num_hidden_layers"] * r * (heads * d * n + kv * d * n)


@count_exercise.trap("Quand head_dim est donné, il n’est pas forcément hidden_size / têtes.")
def _(config, r):
    return query_value_parameters(config | {"head_dim": None}, r)


@count_exercise.variant
def _(config, r):
    n, heads = config["hidden_size"], config["num_attention_heads"]
    d = config["head_dim"] if "head_dim" in config else n // heads
    shapes = [(h * d, n) for h in (heads, config.get("num_key_value_heads", heads))]
    A_and_B = sum(np.empty((r, n)).size + np.empty((m, r)).size for m, n in shapes)
    return config["num_hidden_layers"] * A_and_B


forward_exercise = Exercise(
    "ex-formule-avant", title="La passe avant", level="facile", minutes=8,
    hints=("L’échelle est alpha divisé par le rang, qui se lit sur A.",
           "x @ A.T est de forme (..., r) : le petit produit d’abord."))


@forward_exercise.reference
def lora_forward(x, W, A, B, alpha):
    """x : (..., n) ; W : (m, n) ; A : (r, n) ; B : (m, r) ; renvoie (..., m)."""
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


@forward_exercise.cases
def _(rng):
    for shape, m, n, r, alpha in (((5,), 4, 6, 2, 16), ((2, 3), 6, 6, 3, 8), ((4, 1), 3, 7, 1, 2)):
        yield (rng.normal(size=(*shape, n)), rng.normal(size=(m, n)), rng.normal(size=(r, n)),
               rng.normal(size=(m, r)), alpha)  # fmt: skip


@forward_exercise.trap("L’échelle manque : le détour est multiplié par alpha / r.")
def _(x, W, A, B, alpha):
    return x @ W.T + x @ A.T @ B.T


@forward_exercise.trap("Vous multipliez par alpha sans diviser par le rang.")
def _(x, W, A, B, alpha):
    return x @ W.T + alpha * x @ A.T @ B.T


@forward_exercise.trap("C’est l’échelle de rsLoRA, alpha / √r ; on demande alpha / r.")
def _(x, W, A, B, alpha):
    return x @ W.T + alpha / np.sqrt(len(A)) * (x @ A.T @ B.T)


@forward_exercise.trap("La base manque : la sortie est W x, plus le détour.")
def _(x, W, A, B, alpha):
    return alpha / len(A) * (x @ A.T @ B.T)


@forward_exercise.variant
def _(x, W, A, B, alpha):
    h = np.einsum("...n,rn->...r", x, A)
    return np.einsum("...n,mn->...m", x, W) + np.einsum("...r,mr->...m", h, B) * alpha / B.shape[1]


backward_exercise = Exercise(
    "ex-formule-arriere", title="La passe arrière", level="moyen", minutes=20,
    hints=("Posez h = X Aᵀ et g = G B, tous deux de forme (N, r).",
           "dA = s gᵀ X et dB = s Gᵀ h.",
           "dX a deux termes : par W, et par le détour."))


@backward_exercise.reference
def lora_backward(X, G, W, A, B, s):
    """X : (N, n) ; G : (N, m) ; renvoie dA (r, n), dB (m, r) et dX (N, n)."""
    h, g = X @ A.T, G @ B
    return s * g.T @ X, s * G.T @ h, G @ W + s * g @ A


@backward_exercise.cases
def _(rng):
    for N, m, n, r, s in ((5, 4, 6, 2, 2.0), (3, 5, 5, 2, 0.5), (7, 3, 8, 1, 4.0)):
        yield (rng.normal(size=(N, n)), rng.normal(size=(N, m)), rng.normal(size=(m, n)),
               rng.normal(size=(r, n)), rng.normal(size=(m, r)), s)  # fmt: skip


@backward_exercise.trap("dX oublie le détour : ajoutez s (G B) A.")
def _(X, G, W, A, B, s):
    dA, dB, _ = lora_backward(X, G, W, A, B, s)
    return dA, dB, G @ W


@backward_exercise.trap("dX oublie la base : une matrice gelée transmet le gradient.")
def _(X, G, W, A, B, s):
    dA, dB, _ = lora_backward(X, G, W, A, B, s)
    return dA, dB, s * (G @ B) @ A


@backward_exercise.trap("L’échelle s entre dans les trois gradients, par le détour.")
def _(X, G, W, A, B, s):
    return lora_backward(X, G, W, A, B, 1.0)


@backward_exercise.trap("L’ordre demandé est (dA, dB, dX).")
def _(X, G, W, A, B, s):
    dA, dB, dX = lora_backward(X, G, W, A, B, s)
    return dB, dA, dX


@backward_exercise.trap("dA et dB sont des sommes sur les N tokens, pas des moyennes.")
def _(X, G, W, A, B, s):
    dA, dB, dX = lora_backward(X, G, W, A, B, s)
    return dA / len(X), dB / len(X), dX


@backward_exercise.variant
def _(X, G, W, A, B, s):
    full = sum(np.outer(delta, x) for delta, x in zip(G, X, strict=True))  # le gradient de W
    return s * B.T @ full, s * full @ A.T, G @ (W + s * B @ A)


budget_exercise = Exercise(
    "ex-formule-budget", title="Le rang qui tient dans un budget", level="moyen", minutes=10,
    hints=("Quatre nombres de quatre octets par paramètre : poids, gradient, deux moments.",
           "Un rang de plus coûte 16 × la somme des (m + n).",
           "Prenez la partie entière, puis bornez."))


@budget_exercise.reference
def largest_rank(shapes, budget):
    """shapes : liste de (m, n) ; budget en octets ; renvoie un entier."""
    per_rank = 16 * sum(m + n for m, n in shapes)
    return min(budget // per_rank, min(min(shape) for shape in shapes))


@budget_exercise.cases
def _(rng):
    nano = [(512, 256), (256, 256), (1408, 256), (256, 704)] * 6
    yield nano, 3_000_000
    yield [(4096, 4096)] * 64, 2 * 10**9
    yield nano, 100_000
    yield [(64, 48), (48, 200)], 10**7
    yield [(100, 100)], 16 * 200 * 5


@budget_exercise.trap("Un poids seul ne suffit pas : comptez aussi le gradient et les deux moments.")
def _(shapes, budget):
    per_rank = 4 * sum(m + n for m, n in shapes)
    return min(budget // per_rank, min(min(shape) for shape in shapes))


@budget_exercise.trap("Le rang ne peut dépasser la plus petite dimension d’aucune matrice.")
def _(shapes, budget):
    return budget // (16 * sum(m + n for m, n in shapes))


@budget_exercise.trap("Le gradient manque : poids, gradient et deux moments font seize octets.")
def _(shapes, budget):
    per_rank = 12 * sum(m + n for m, n in shapes)
    return min(budget // per_rank, min(min(shape) for shape in shapes))


@budget_exercise.trap("Le budget se partage entre toutes les matrices : la vôtre le prend entier.")
def _(shapes, budget):
    return min(min(budget // (16 * (m + n)), min(m, n)) for m, n in shapes)


@budget_exercise.variant
def _(shapes, budget):
    best = 0
    for r in range(1, min(min(shape) for shape in shapes) + 1):
        if sum(4 * 4 * r * (m + n) for m, n in shapes) <= budget:
            best = r
    return best


def _same_product(got, expected, W0, W1, r, alpha):
    """A et B ne sont pas uniques : seul leur produit compte, et leurs formes."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "deux tableaux, (A, B), sont attendus"
    A, B = (np.asarray(x, dtype=float) for x in got)
    m, n = W0.shape
    if A.shape != (r, n) or B.shape != (m, r):
        return f"formes reçues : A {A.shape}, B {B.shape} ; attendues : {(r, n)} et {(m, r)}"
    gap = np.abs(B @ A - expected[1] @ expected[0]).max()
    return None if gap < 1e-6 * (1 + np.abs(W1).max()) else f"B @ A s’écarte de {gap:.2g}"


extract_exercise = Exercise(
    "ex-formule-extraire", title="Extraire un adaptateur", level="moyen", minutes=15,
    compare=_same_product,
    hints=("La meilleure approximation de rang r de W1 - W0 est sa SVD tronquée.",
           "Partagez les valeurs singulières : leur racine de chaque côté, par exemple.",
           "L’échelle alpha / r multipliera B @ A : divisez par elle une fois."))


@extract_exercise.reference
def extract(W0, W1, r, alpha):
    """W0, W1 : (m, n) ; renvoie A (r, n) et B (m, r)."""
    U, s, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    root = np.sqrt(s[:r] * r / alpha)
    return root[:, None] * Vt[:r], U[:, :r] * root


@extract_exercise.cases
def _(rng):
    for m, n, r, alpha in ((8, 6, 2, 16), (5, 9, 3, 2), (7, 7, 1, 4)):
        W0 = rng.normal(size=(m, n))
        yield W0, W0 + 0.3 * rng.normal(size=(m, n)), r, alpha


@extract_exercise.trap("L’échelle alpha / r s’appliquera encore : divisez le produit par elle.")
def _(W0, W1, r, alpha):
    U, s, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return np.sqrt(s[:r])[:, None] * Vt[:r], U[:, :r] * np.sqrt(s[:r])


@extract_exercise.trap("Vous décomposez W1 : c’est la différence W1 - W0 qu’il faut approcher.")
def _(W0, W1, r, alpha):
    return extract(np.zeros_like(W0), W1, r, alpha)


@extract_exercise.trap("Vous divisez A et B tous deux par alpha / r : le produit l’est deux fois.")
def _(W0, W1, r, alpha):
    U, s, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    root = np.sqrt(s[:r]) * r / alpha
    return root[:, None] * Vt[:r], U[:, :r] * root


@extract_exercise.trap("Les valeurs singulières manquent : U et Vt seuls ont toutes leurs directions "
                       "de même poids.")
def _(W0, W1, r, alpha):
    U, _, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return Vt[:r] * r / alpha, U[:, :r]


@extract_exercise.variant
def _(W0, W1, r, alpha):
    D = W1 - W0
    _, vectors = np.linalg.eigh(D.T @ D)
    A = vectors[:, ::-1][:, :r].T  # les r premiers vecteurs singuliers droits
    return A, D @ A.T * r / alpha


def _live(answer, weight, bias, A, B, alpha, x):
    """Construit la couche, et rend tout ce qui se voit d’elle."""
    import torch

    weight, A, B, x = (torch.tensor(t, dtype=torch.float64) for t in (weight, A, B, x))
    base = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).double()
    with torch.no_grad():
        base.weight.copy_(weight)
        if bias is not None:
            base.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    layer = answer(base, len(A), alpha).double()
    same_start = torch.allclose(layer(x), base(x))
    trained = sorted(name for name, p in layer.named_parameters() if p.requires_grad)
    both = (bool(layer.A.any()), bool(layer.B.any()))
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
        before = layer(x)
        layer.merge()
        merged_base, merged = base(x), layer(x)
        layer.merge()
        twice = layer(x)
        layer.unmerge()
        after = layer(x)
    return {
        "la sortie de départ est celle de la base": same_start,
        "paramètres entraînés": trained,
        "A, B non nulles au départ": both,
        "forward": before.numpy(),
        "base(x) après merge": merged_base.numpy(),
        "forward après merge": merged.numpy(),
        "forward après un second merge": twice.numpy(),
        "forward après unmerge": after.numpy(),
        "W rendue exactement": torch.equal(base.weight.detach(), weight),
    }


def _same_life(got, expected, *_):
    """La première observation qui diffère, dans l’ordre où la couche les vit."""
    for name, value in expected.items():
        other = got[name]
        same = np.allclose(other, value) if isinstance(value, np.ndarray) else other == value
        if not same:
            return name if isinstance(value, np.ndarray) else f"{name} : {other}, attendu {value}"
    return None


layer_exercise = Exercise(
    "ex-formule-couche", title="La couche complète", level="difficile", minutes=40,
    call=_live, compare=_same_life, timeout_s=20.0,
    hints=("base.requires_grad_(False) gèle aussi le biais.",
           "Gardez une copie de base.weight à la fusion : soustraire s B A ne la rendrait qu’à "
           "l’arrondi près.",
           "forward ajoute le détour seulement si rien n’est fondu."))  # fmt: skip


def _layer(start="B", freeze=True, scale=True, guard=True, exact=True, detour=True):
    """Une couche, juste par défaut ; chaque option en retire un soin."""
    import torch

    class Lora(torch.nn.Module):
        def __init__(self, base, r, alpha):
            super().__init__()
            self.base = base.requires_grad_(not freeze)
            self.s, self.kept = alpha / r if scale else alpha, None
            m, n = base.weight.shape
            A = torch.rand(r, n) - 0.5 if start != "deux nulles" else torch.zeros(r, n)
            B = torch.rand(m, r) - 0.5 if start == "deux tirées" else torch.zeros(m, r)
            self.A, self.B = torch.nn.Parameter(A), torch.nn.Parameter(B)

        def forward(self, x):
            y = self.base(x)
            if self.kept is not None and detour:
                return y
            return y + self.s * (x @ self.A.T @ self.B.T)

        @torch.no_grad()
        def merge(self):
            if self.kept is not None and guard:
                return
            self.kept = self.base.weight.clone()
            self.base.weight += self.s * self.B @ self.A

        @torch.no_grad()
        def unmerge(self):
            if exact:
                self.base.weight.copy_(self.kept)
            else:
                self.base.weight -= self.s * self.B @ self.A
            self.kept = None

    return Lora


@layer_exercise.reference
def Lora(base, r, alpha):
    """base : nn.Linear, de matrice (m, n)."""
    import torch

    class Lora(torch.nn.Module):
        def __init__(self, base, r, alpha):
            super().__init__()
            self.base, self.s, self.kept = base.requires_grad_(False), alpha / r, None
            m, n = base.weight.shape
            self.A, self.B = torch.nn.Parameter(torch.empty(r, n)), torch.nn.Parameter(torch.zeros(m, r))
            torch.nn.init.kaiming_uniform_(self.A, a=5**0.5)

        def forward(self, x):
            y = self.base(x)
            return y if self.kept is not None else y + self.s * (x @ self.A.T @ self.B.T)

        @torch.no_grad()
        def merge(self):
            if self.kept is None:
                self.kept = self.base.weight.clone()
                self.base.weight += self.s * self.B @ self.A

        @torch.no_grad()
        def unmerge(self):
            if self.kept is not None:
                self.base.weight.copy_(self.kept)
                self.kept = None

    return Lora(base, r, alpha)


@layer_exercise.cases
def _(rng):
    for m, n, r, alpha, bias in ((6, 5, 2, 16, False), (4, 9, 3, 3, True)):
        yield (rng.normal(size=(m, n)), rng.normal(size=m) if bias else None,
               rng.normal(size=(r, n)), rng.normal(size=(m, r)), alpha,
               rng.normal(size=(3, n)))  # fmt: skip


@layer_exercise.trap("La base s’entraîne : gelez-la, biais compris.")
def _(base, r, alpha):
    return _layer(freeze=False)(base, r, alpha)


@layer_exercise.trap("A et B sont toutes deux nulles : cette couche n’apprendra jamais.")
def _(base, r, alpha):
    return _layer(start="deux nulles")(base, r, alpha)


@layer_exercise.trap("A et B sont toutes deux tirées : la sortie de départ n’est plus celle de la base.")
def _(base, r, alpha):
    return _layer(start="deux tirées")(base, r, alpha)


@layer_exercise.trap("L’échelle est alpha / r, pas alpha.")
def _(base, r, alpha):
    return _layer(scale=False)(base, r, alpha)


@layer_exercise.trap("Après merge, forward ajoute encore le détour, que la matrice contient déjà.")
def _(base, r, alpha):
    return _layer(detour=False)(base, r, alpha)


@layer_exercise.trap("Un second merge ajoute la correction une seconde fois.")
def _(base, r, alpha):
    return _layer(guard=False)(base, r, alpha)


@layer_exercise.trap("unmerge par soustraction ne rend W qu’à l’arrondi près : gardez une copie.")
def _(base, r, alpha):
    return _layer(exact=False)(base, r, alpha)


@layer_exercise.variant
def _(base, r, alpha):
    return _layer()(base, r, alpha)
