"""Exercices de la section « Le cache KV »."""

import numpy as np

from llmbook.exercise import Exercise

bytes_exercise = Exercise(
    "ex-cache-octets",
    title="Les octets d’un cache",
    level="facile",
    minutes=6,
    hints=(
        "Sans num_key_value_heads, chaque tête de requêtes a ses clés : num_attention_heads.",
        "Sans head_dim, les têtes se partagent hidden_size.",
        "Deux tenseurs par couche : les clés et les valeurs.",
    ),
)


@bytes_exercise.reference
def kv_bytes(config, T, B=1, width=2):
    """Octets du cache de B textes de T tokens. config : dictionnaire de config.json."""
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    return 2 * config["num_hidden_layers"] * kv_heads * head_dim * T * width * B


_GPT2 = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
_LLAMA3 = {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
           "num_key_value_heads": 8}  # fmt: skip
_QWEN3 = {"num_hidden_layers": 28, "hidden_size": 1024, "num_attention_heads": 16,
          "num_key_value_heads": 8, "head_dim": 128}  # fmt: skip


@bytes_exercise.cases
def _(rng):
    yield _GPT2, 1024
    yield _LLAMA3, 8192
    yield _LLAMA3, 100, 16, 1
    yield _QWEN3, 500, 2


@bytes_exercise.trap("Vous oubliez un tenseur : le cache garde les clés et les valeurs.")
def _(config, T, B=1, width=2):
    return kv_bytes(config, T, B, width) // 2


@bytes_exercise.trap(
    "Vous comptez toutes les têtes de requêtes : le cache n’a que num_key_value_heads têtes."
)
def _(config, T, B=1, width=2):
    alone = {key: value for key, value in config.items() if key != "num_key_value_heads"}
    return kv_bytes(alone, T, B, width)


@bytes_exercise.trap(
    "Quand le fichier donne head_dim, c’est lui : hidden_size n’est pas toujours heads × head_dim."
)
def _(config, T, B=1, width=2):
    alone = {key: value for key, value in config.items() if key != "head_dim"}
    return kv_bytes(alone, T, B, width)


@bytes_exercise.trap("Chaque texte du lot a son cache : multipliez par B.")
def _(config, T, B=1, width=2):
    return kv_bytes(config, T, 1, width)


@bytes_exercise.variant
def _(config, T, B=1, width=2):
    H = config["num_attention_heads"]
    d = config["head_dim"] if "head_dim" in config else config["hidden_size"] / H
    shape = (2, config["num_hidden_layers"], B, config.get("num_key_value_heads") or H, T, d)
    return int(np.prod(shape)) * width


users_exercise = Exercise(
    "ex-cache-lot",
    title="Combien d’utilisateurs ?",
    level="facile",
    minutes=8,
    hints=(
        "Retirez d’abord ce qui ne dépend pas du nombre d’utilisateurs.",
        "Le préfixe se compte une fois, pas une fois par utilisateur.",
        "Division entière, et 0 si le reste est négatif.",
    ),
)


@users_exercise.reference
def most_users(memory, weights, per_token, prefix, own):
    """Utilisateurs servis ensemble ; tailles en octets, longueurs en tokens."""
    free = memory - weights - per_token * prefix
    return max(0, free // (per_token * own))


@users_exercise.cases
def _(rng):
    yield 80_000, 16_000, 2, 1000, 100
    yield 80_000, 16_000, 2, 0, 100
    yield 20_000, 16_000, 3, 2000, 10
    yield 20_000, 16_000, 1, 1000, 700
    yield 85_899, 15_001, 7, 512, 333


@users_exercise.trap("Le préfixe est partagé : il ne compte qu’une fois, pas pour chacun.")
def _(memory, weights, per_token, prefix, own):
    return max(0, (memory - weights) // (per_token * (prefix + own)))


@users_exercise.trap("Vous oubliez la place du préfixe partagé.")
def _(memory, weights, per_token, prefix, own):
    return max(0, (memory - weights) // (per_token * own))


@users_exercise.trap("Le nombre d’utilisateurs ne peut pas être négatif : renvoyez 0.")
def _(memory, weights, per_token, prefix, own):
    return (memory - weights - per_token * prefix) // (per_token * own)


@users_exercise.trap(
    "Un utilisateur servi aux deux tiers n’est pas servi : arrondissez vers le bas."
)
def _(memory, weights, per_token, prefix, own):
    return max(0, round((memory - weights - per_token * prefix) / (per_token * own)))


@users_exercise.variant
def _(memory, weights, per_token, prefix, own):
    users = 0
    while weights + per_token * (prefix + (users + 1) * own) <= memory:
        users += 1
    return users


step_exercise = Exercise(
    "ex-cache-etape",
    title="Un pas d’attention",
    level="moyen",
    minutes=15,
    hints=(
        "Ajoutez k et v à la fin de l’axe du temps : np.concatenate, axis=1.",
        "np.repeat(K, H // Hkv, axis=0) donne à chaque tête de requêtes ses clés.",
        "Divisez les scores par √d et retirez le maximum avant l’exponentielle.",
    ),
)


@step_exercise.reference
def attention_step(q, k, v, K, V):
    """q : (H, d) ; k, v : (Hkv, d) ; K, V : (Hkv, t, d). Renvoie (y, K, V)."""
    K = np.concatenate([K, k[:, None]], axis=1)  # (Hkv, t + 1, d)
    V = np.concatenate([V, v[:, None]], axis=1)
    group = len(q) // len(k)
    scores = np.einsum("hd,htd->ht", q, np.repeat(K, group, axis=0)) / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("ht,htd->hd", weights, np.repeat(V, group, axis=0)), K, V


@step_exercise.cases
def _(rng):
    for H, Hkv, t, d in ((2, 2, 3, 4), (4, 2, 5, 8), (6, 1, 0, 4)):
        yield (
            rng.normal(size=(H, d)),
            rng.normal(size=(Hkv, d)),
            rng.normal(size=(Hkv, d)),
            rng.normal(size=(Hkv, t, d)),
            rng.normal(size=(Hkv, t, d)),
        )
    yield (
        np.full((2, 4), 40.0),
        np.full((1, 4), 40.0),
        np.ones((1, 4)),
        np.zeros((1, 2, 4)),
        np.zeros((1, 2, 4)),
    )


@step_exercise.trap(
    "La position nouvelle se regarde aussi : agrandissez le cache avant de calculer les scores."
)
def _(q, k, v, K, V):
    if K.shape[1] == 0:
        return attention_step(q, k, v, K, V)
    y, _, _ = attention_step(q, K[:, -1], V[:, -1], K[:, :-1], V[:, :-1])
    _, K, V = attention_step(q, k, v, K, V)
    return y, K, V


@step_exercise.trap("Les têtes d’un groupe se suivent : np.repeat, pas np.tile.")
def _(q, k, v, K, V):
    group = len(q) // len(k)
    tiled = attention_step(
        q, *(np.tile(x, (group, 1)) for x in (k, v)), *(np.tile(x, (group, 1, 1)) for x in (K, V))
    )
    _, K, V = attention_step(q, k, v, K, V)
    return tiled[0], K, V


@step_exercise.trap("Vous ne divisez pas les scores par √d.")
def _(q, k, v, K, V):
    y, _, _ = attention_step(q * np.sqrt(q.shape[1]), k, v, K, V)
    _, K, V = attention_step(q, k, v, K, V)
    return y, K, V


@step_exercise.trap("Le softmax se fait sur les positions, pas sur les têtes.")
def _(q, k, v, K, V):
    _, K, V = attention_step(q, k, v, K, V)
    group = len(q) // len(k)
    scores = np.einsum("hd,htd->ht", q, np.repeat(K, group, axis=0)) / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(axis=0))
    weights /= weights.sum(axis=0)
    return np.einsum("ht,htd->hd", weights, np.repeat(V, group, axis=0)), K, V


@step_exercise.variant
def _(q, k, v, K, V):
    K = np.append(K, k[:, None, :], 1)
    V = np.append(V, v[:, None, :], 1)
    rows = []
    for h, query in enumerate(q):
        head = h * len(k) // len(q)
        scores = [query @ key / len(query) ** 0.5 for key in K[head]]
        weights = [np.exp(score - max(scores)) for score in scores]
        rows.append(sum(w * x for w, x in zip(weights, V[head], strict=True)) / sum(weights))
    return np.array(rows), K, V


sinks_exercise = Exercise(
    "ex-cache-puits",
    title="Que garder ?",
    level="facile",
    minutes=6,
    hints=(
        "Tant que le cache n’est pas plein, tout y est.",
        "Ensuite : les sinks premières, puis les size - sinks dernières.",
    ),
)


@sinks_exercise.reference
def kept_positions(t, size, sinks):
    """Positions du texte encore dans le cache, dans l’ordre."""
    if t <= size:
        return list(range(t))
    return [*range(sinks), *range(t - (size - sinks), t)]


@sinks_exercise.cases
def _(rng):
    yield 5, 8, 2
    yield 8, 8, 2
    yield 9, 8, 2
    yield 100, 8, 4
    yield 20, 6, 0


@sinks_exercise.trap(
    "Les puits occupent des places : il ne reste que size - sinks positions récentes."
)
def _(t, size, sinks):
    return list(range(t)) if t <= size else [*range(sinks), *range(t - size, t)]


@sinks_exercise.trap("Vous perdez les puits : c’est une fenêtre ordinaire.")
def _(t, size, sinks):
    return list(range(max(0, t - size), t))


@sinks_exercise.trap(
    "Tant que le texte tient dans le cache, rien n’en sort, et rien n’y est en double."
)
def _(t, size, sinks):
    return [*range(sinks), *range(max(0, t - (size - sinks)), t)]


@sinks_exercise.variant
def _(t, size, sinks):
    kept = []
    for position in range(t):
        kept.append(position)
        if len(kept) > size:
            kept.pop(sinks)
    return kept


ring_exercise = Exercise(
    "ex-cache-anneau",
    title="Le tampon circulaire",
    level="moyen",
    minutes=10,
    hints=(
        "Tant que n ≤ w, l’anneau est dans l’ordre.",
        "Quand il est plein, la plus ancienne position est celle que la prochaine écriture "
        "remplacerait : la case n mod w.",
        "np.roll(ring, -k, axis=0) amène la case k en tête.",
    ),
)


@ring_exercise.reference
def in_order(ring, n):
    """ring : (w, d) ; renvoie (min(n, w), d), de la plus ancienne position à la plus récente."""
    w = len(ring)
    return ring[:n] if n <= w else np.roll(ring, -(n % w), axis=0)


@ring_exercise.cases
def _(rng):
    ring = rng.normal(size=(5, 3))
    for n in (2, 5, 6, 9, 10, 13):
        yield ring, n


@ring_exercise.trap("Votre rotation va dans l’autre sens : la case n mod w doit venir en tête.")
def _(ring, n):
    w = len(ring)
    return ring[:n] if n <= w else np.roll(ring, n % w, axis=0)


@ring_exercise.trap(
    "Vous renvoyez l’anneau tel qu’il est rangé : il faut le remettre dans l’ordre du texte."
)
def _(ring, n):
    return ring[:n]


@ring_exercise.trap("Les cases jamais écrites ne font pas partie du cache.")
def _(ring, n):
    w = len(ring)
    return ring if n <= w else np.roll(ring, -(n % w), axis=0)


@ring_exercise.trap(
    "Vous partez de la dernière case écrite, (n - 1) mod w : la plus ancienne est la suivante."
)
def _(ring, n):
    w = len(ring)
    return ring[:n] if n <= w else np.roll(ring, -((n - 1) % w), axis=0)


@ring_exercise.variant
def _(ring, n):
    w = len(ring)
    return ring[[t % w for t in range(max(0, n - w), n)]]


prefix_exercise = Exercise(
    "ex-cache-prefixe",
    title="Un cache de préfixe par blocs",
    level="difficile",
    minutes=30,
    hints=(
        "Nommez un bloc par tous les tokens du début jusqu’à sa fin : tuple(tokens[:fin]).",
        "Parcourez les blocs pleins et arrêtez-vous au premier inconnu.",
        "Si tout est connu, il reste au moins un token à calculer.",
        "Rangez ensuite tous les blocs pleins de la requête.",
    ),
)


@prefix_exercise.reference
def tokens_to_compute(requests, block):
    """Nombre de tokens à calculer pour chaque requête, dans l’ordre d’arrivée."""
    known, work = set(), []
    for tokens in requests:
        ends = range(block, len(tokens) + 1, block)
        names = [tuple(tokens[:end]) for end in ends]
        reused = 0
        for name in names:
            if name not in known:
                break
            reused = len(name)
        work.append(len(tokens) - min(reused, len(tokens) - 1))
        known.update(names)
    return work


@prefix_exercise.cases
def _(rng):
    system = [7, 1, 1, 4, 2, 9]
    yield [[*system, 3], [*system, 5, 5], [*system, 3]], 2
    yield [[1, 2, 3, 4], [9, 9, 3, 4], [1, 2, 3, 4]], 2
    yield [[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4, 5, 6]], 3
    yield [[5], [5], [5, 6, 7, 8], [5, 6, 7, 8, 9, 9, 9], [5, 6, 7, 8, 9, 9, 9]], 4
    yield [[1, 2, 3, 4, 5, 6], [1, 2, 0, 4, 5, 6], [1, 2, 0, 4, 5, 6]], 2


def _prefix(requests, block, name, keep_last=True, partial=False, holes=False):
    known, work = set(), []
    for tokens in requests:
        ends = list(range(block, len(tokens) + 1, block))
        if partial and len(tokens) % block:
            ends.append(len(tokens))
        names = [name(tokens, end) for end in ends]
        found = [label in known for label in names]
        starts = [end - block if end % block == 0 else end - end % block for end in ends]
        reused = 0
        for start, end, ok in zip(starts, ends, found, strict=True):
            if ok:
                reused += end - start
            elif not holes:
                break
        work.append(len(tokens) - (min(reused, len(tokens) - 1) if keep_last else reused))
        known.update(names)
    return work


@prefix_exercise.trap(
    "Un bloc ne ressert que si tout ce qui le précède est pareil : les mêmes "
    "tokens plus loin ont d’autres clés."
)
def _(requests, block):
    return _prefix(
        requests, block, lambda tokens, end: tuple(tokens[end - block : end]), holes=True
    )


@prefix_exercise.trap("Le dernier token se calcule toujours : sans lui, pas de logits.")
def _(requests, block):
    return _prefix(requests, block, lambda tokens, end: tuple(tokens[:end]), keep_last=False)


@prefix_exercise.trap("Seuls les blocs pleins se gardent : un bloc entamé changera encore.")
def _(requests, block):
    return _prefix(requests, block, lambda tokens, end: tuple(tokens[:end]), partial=True)


@prefix_exercise.trap(
    "Vous ne comparez qu’avec la requête précédente : toutes les requêtes "
    "passées ont laissé leurs blocs."
)
def _(requests, block):
    pairs = zip([[], *requests], requests, strict=False)
    return [tokens_to_compute([before, tokens], block)[1] for before, tokens in pairs]


@prefix_exercise.variant
def _(requests, block):
    work = []
    for i, tokens in enumerate(requests):
        best = 0
        for past in requests[:i]:
            common = 0
            while common < min(len(past), len(tokens)) and past[common] == tokens[common]:
                common += 1
            best = max(best, common // block * block)
        work.append(max(1, len(tokens) - best))
    return work
