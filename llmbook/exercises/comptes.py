"""Exercices de la section « GPT-2, Llama : paramètres et opérations »."""

from llmbook.exercise import Exercise

attention_exercise = Exercise(
    "ex-comptes-attention", title="L’attention d’un bloc", level="facile", minutes=4,
    hints=("Quatre matrices : requêtes et sortie de taille C × HD, clés et valeurs de C × Hk D.",))


@attention_exercise.reference
def attention_parameters(C, H, Hk, D):
    """Paramètres de l’attention d’un bloc, sans biais ; renvoie un entier."""
    return 2 * C * H * D + 2 * C * Hk * D


@attention_exercise.cases
def _(rng):
    yield 4096, 32, 32, 128
    yield 4096, 32, 8, 128
    yield 256, 4, 2, 64
    yield 1024, 16, 8, 128


@attention_exercise.trap("4 C² suppose autant de têtes de clés que de requêtes.")
def _(C, H, Hk, D):
    return 4 * C * C


@attention_exercise.trap("Clés et valeurs font deux matrices.")
def _(C, H, Hk, D):
    return 2 * C * H * D + C * Hk * D


@attention_exercise.trap("La matrice de sortie manque : elle ramène H D à C.")
def _(C, H, Hk, D):
    return C * H * D + 2 * C * Hk * D


@attention_exercise.trap("H × D n’est pas toujours C : Qwen3 a des têtes plus larges.")
def _(C, H, Hk, D):
    return 2 * C * C + 2 * C * C * Hk // H


@attention_exercise.variant
def _(C, H, Hk, D):
    return sum(C * heads * D for heads in (H, Hk, Hk, H))


llama_exercise = Exercise(
    "ex-comptes-llama", title="Tout un Llama", level="moyen", minutes=12,
    hints=("Un bloc : attention, 3 C F, et deux gains de normalisation.",
           "Hors des blocs : un plongement, une tête s’ils ne sont pas liés, un dernier gain.",
           "m.get(\"dim_tete\", C // H)"))


@llama_exercise.reference
def llama_parameters(m):
    """m : dictionnaire de architectures.json, avec `lies` ; renvoie un entier."""
    C, H, Hk = m["largeur"], m["tetes"], m["tetes_kv"]
    D = m.get("dim_tete", C // H)
    block = 2 * C * (H + Hk) * D + 3 * C * m["ffn"] + 2 * C
    return (1 if m["lies"] else 2) * m["vocabulaire"] * C + m["couches"] * block + C


_SEVEN = {"couches": 32, "largeur": 4096, "tetes": 32, "tetes_kv": 32, "ffn": 11008,
          "vocabulaire": 32000, "lies": False}
_NANO = {"couches": 6, "largeur": 256, "tetes": 4, "tetes_kv": 2, "ffn": 704, "vocabulaire": 4096,
         "lies": True}


@llama_exercise.cases
def _(rng):
    yield _SEVEN,
    yield _NANO,
    yield {**_NANO, "dim_tete": 32, "tetes": 6},
    yield {**_SEVEN, "tetes_kv": 8, "lies": True},


def _llama(m, embeddings=None, gates=3, norms=2, final=1, dim=None, groups=True):
    C, H = m["largeur"], m["tetes"]
    Hk = m["tetes_kv"] if groups else H
    D = dim or m.get("dim_tete", C // H)
    block = 2 * C * (H + Hk) * D + gates * C * m["ffn"] + norms * C
    embeddings = embeddings or (1 if m["lies"] else 2)
    return embeddings * m["vocabulaire"] * C + m["couches"] * block + final * C


@llama_exercise.trap("Des plongements liés ne comptent qu’une fois.")
def _(m):
    return _llama(m, embeddings=2)


@llama_exercise.trap("SwiGLU a trois matrices : porte, montée, descente.")
def _(m):
    return _llama(m, gates=2)


@llama_exercise.trap("Les gains de RMSNorm manquent : deux par bloc, un à la fin.")
def _(m):
    return _llama(m, norms=0, final=0)


@llama_exercise.trap("Le gain de la norme finale manque.")
def _(m):
    return _llama(m, final=0)


@llama_exercise.trap("Les clés et les valeurs ont tetes_kv têtes.")
def _(m):
    return _llama(m, groups=False)


@llama_exercise.trap("La dimension de tête est dim_tete quand elle est donnée.")
def _(m):
    return _llama(m, dim=m["largeur"] // m["tetes"])


@llama_exercise.variant
def _(m):
    C, L = m["largeur"], m["couches"]
    D = m.get("dim_tete", C // m["tetes"])
    rows = [2 * m["tetes"] * D, 2 * m["tetes_kv"] * D, 3 * m["ffn"], 2]
    total = L * C * sum(rows) + C + C * m["vocabulaire"]
    return total if m["lies"] else total + C * m["vocabulaire"]


shapes_exercise = Exercise(
    "ex-comptes-formes", title="Lire une forme", level="facile", minutes=6,
    hints=("q_proj.weight est de forme (H D, C).", "gate_proj.weight est de forme (F, C)."))


@shapes_exercise.reference
def read_shapes(shapes, D):
    """shapes : nom -> (sortie, entrée) ; D : dimension de tête ; renvoie un dictionnaire."""
    V, C = shapes["embed.weight"]
    return {"vocabulaire": V, "largeur": C, "tetes": shapes["q_proj.weight"][0] // D,
            "tetes_kv": shapes["k_proj.weight"][0] // D, "ffn": shapes["gate_proj.weight"][0]}


def _shapes(V, C, H, Hk, D, F):
    return {"embed.weight": (V, C), "q_proj.weight": (H * D, C), "k_proj.weight": (Hk * D, C),
            "gate_proj.weight": (F, C)}


@shapes_exercise.cases
def _(rng):
    yield _shapes(4096, 256, 4, 2, 64, 704), 64
    yield _shapes(151936, 1024, 16, 8, 128, 3072), 128
    yield _shapes(32000, 4096, 32, 32, 128, 11008), 128


@shapes_exercise.trap("Vous lisez entrée × sortie, le rangement de GPT-2 : ici la sortie est "
                      "d’abord.")
def _(shapes, D):
    flipped = {name: shape[::-1] for name, shape in shapes.items()}
    return read_shapes(flipped | {"embed.weight": shapes["embed.weight"]}, D)


@shapes_exercise.trap("Le nombre de têtes se lit sur q_proj : la largeur divisée par D n’est pas "
                      "toujours lui.")
def _(shapes, D):
    return read_shapes(shapes, D) | {"tetes": shapes["embed.weight"][1] // D}


@shapes_exercise.trap("Vous oubliez de diviser par la dimension de tête.")
def _(shapes, D):
    return read_shapes(shapes, 1)


@shapes_exercise.trap("tetes_kv se lit sur k_proj.")
def _(shapes, D):
    found = read_shapes(shapes, D)
    return found | {"tetes_kv": found["tetes"]}


@shapes_exercise.variant
def _(shapes, D):
    first = {name.split(".")[0]: shape[0] for name, shape in shapes.items()}
    return dict(vocabulaire=first["embed"], largeur=shapes["embed.weight"][1],
                tetes=first["q_proj"] // D, tetes_kv=first["k_proj"] // D, ffn=first["gate_proj"])


crossover_exercise = Exercise(
    "ex-comptes-bascule", title="Le contexte de bascule", level="facile", minutes=5,
    hints=("Posez 4 L H D S = 2 N_mat.",))


@crossover_exercise.reference
def crossover(N_mat, L, H, D):
    """Positions S pour lesquelles 4 L H D S = 2 N_mat ; renvoie un nombre."""
    return N_mat / (2 * L * H * D)


@crossover_exercise.cases
def _(rng):
    yield 5_472_256, 6, 4, 64
    yield 6.6e9, 32, 32, 128
    yield 4e11, 126, 128, 128


@crossover_exercise.trap("Il y a deux produits dans l’attention : scores et valeurs.")
def _(N_mat, L, H, D):
    return 2 * N_mat / (2 * L * H * D)


@crossover_exercise.trap("N_mat contient déjà toutes les couches : multipliez l’attention par L.")
def _(N_mat, L, H, D):
    return N_mat / (2 * H * D)


@crossover_exercise.trap("Le rapport est inversé.")
def _(N_mat, L, H, D):
    return 2 * L * H * D / N_mat


@crossover_exercise.variant
def _(N_mat, L, H, D):
    return 2 * N_mat / (4 * L * H * D)


days_exercise = Exercise(
    "ex-comptes-jours", title="Combien de jours ?", level="facile", minutes=5,
    hints=("Opérations : 6 n tokens.", "Vitesse utile : cards × peak × mfu par seconde."))


@days_exercise.reference
def training_days(n, tokens, cards, peak, mfu):
    """Durée en jours ; peak en opérations par seconde, mfu entre 0 et 1."""
    return 6 * n * tokens / (cards * peak * mfu) / 86400


@days_exercise.cases
def _(rng):
    yield 6.74e9, 2e12, 1024, 312e12, 0.4
    yield 405e9, 15.6e12, 16384, 989e12, 0.41
    yield 5.5e6, 459e6, 1, 989e12, 0.2


@days_exercise.trap("2 n par token, c’est l’avant seul : l’entraînement en demande 6.")
def _(n, tokens, cards, peak, mfu):
    return 2 * n * tokens / (cards * peak * mfu) / 86400


@days_exercise.trap("Une utilisation plus basse allonge la durée : divisez par mfu.")
def _(n, tokens, cards, peak, mfu):
    return 6 * n * tokens * mfu / (cards * peak) / 86400


@days_exercise.trap("La durée est demandée en jours.")
def _(n, tokens, cards, peak, mfu):
    return 6 * n * tokens / (cards * peak * mfu) / 3600


@days_exercise.trap("Toutes les cartes travaillent : divisez par leur nombre.")
def _(n, tokens, cards, peak, mfu):
    return 6 * n * tokens / (peak * mfu) / 86400


@days_exercise.variant
def _(n, tokens, cards, peak, mfu):
    per_day = 24 * 3600 * peak * mfu * cards
    return 3 * (2 * n) * tokens / per_day


budget_exercise = Exercise(
    "ex-comptes-budget", title="Dessiner un modèle sous contrainte", level="moyen", minutes=20,
    hints=("Écrivez d’abord count(C) : V C + L (4 C² + 3 C F + 2 C) + C.",
           "Le compte croît avec C : augmentez C de 64 tant qu’il tient."))


def _count(C, L, V, gates=3, tied=True):
    F = 64 * round(8 * C / 3 / 64)
    return (1 if tied else 2) * V * C + L * (4 * C * C + gates * C * F + 2 * C) + C


def _widest(budget, count):
    C = 0
    while count(C + 64) <= budget:
        C += 64
    return C


@budget_exercise.reference
def widest(budget, L, V):
    """Plus grande largeur, multiple de 64, qui tient dans `budget` paramètres ; 0 si aucune."""
    return _widest(budget, lambda C: _count(C, L, V))


@budget_exercise.cases
def _(rng):
    yield 5_500_000, 6, 4096
    yield 30_000_000, 12, 4096
    yield 124_000_000, 12, 50257
    yield 100_000, 6, 4096
    yield _count(256, 6, 4096), 6, 4096
    yield 1_000_000_000, 24, 32000


@budget_exercise.trap("Les plongements sont liés : V C ne compte qu’une fois.")
def _(budget, L, V):
    return _widest(budget, lambda C: _count(C, L, V, tied=False))


@budget_exercise.trap("SwiGLU a trois matrices de taille C F.")
def _(budget, L, V):
    return _widest(budget, lambda C: _count(C, L, V, gates=2))


@budget_exercise.trap("Vous rendez la première largeur qui dépasse.")
def _(budget, L, V):
    return widest(budget, L, V) + 64


@budget_exercise.trap("« Ne dépasse pas » : un modèle qui vaut exactement le budget convient.")
def _(budget, L, V):
    return _widest(budget - 1, lambda C: _count(C, L, V))


@budget_exercise.variant
def _(budget, L, V):
    low, high = 0, 1 << 14
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _count(64 * middle, L, V) <= budget else (low, middle)
    return 64 * low
