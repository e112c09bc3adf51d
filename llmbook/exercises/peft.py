"""Exercices de la section « La même chose avec PEFT et TRL »."""

import numpy as np

from llmbook.exercise import Exercise

name_exercise = Exercise(
    "ex-peft-nom",
    title="Le nom d’un tenseur",
    level="facile",
    minutes=5,
    hints=(
        "Les noms que la page affiche commencent tous par base_model.model.",
        "Viennent ensuite le nom de la couche, puis lora_A.weight, lora_B.weight ou "
        "lora_magnitude_vector.",
    ),
)


@name_exercise.reference
def tensor_name(layer, kind):
    """layer : par exemple « model.layers.0.mlp.down_proj » ; renvoie un texte."""
    end = "lora_magnitude_vector" if kind == "magnitude" else f"lora_{kind}.weight"
    return f"base_model.model.{layer}.{end}"


@name_exercise.cases
def _(rng):
    yield "model.layers.0.mlp.down_proj", "A"
    yield "model.layers.11.self_attn.q_proj", "B"
    yield "transformer.h.3.attn.c_attn", "magnitude"


@name_exercise.trap("Il manque le préfixe base_model.model. : PEFT enveloppe le modèle deux fois.")
def _(layer, kind):
    return tensor_name(layer, kind).removeprefix("base_model.model.")


@name_exercise.trap("Le nom de l’adaptateur (default) est retiré des fichiers.")
def _(layer, kind):
    return tensor_name(layer, kind).replace(".weight", ".default.weight")


@name_exercise.trap("La magnitude de DoRA n’a pas de .weight dans le fichier.")
def _(layer, kind):
    found = tensor_name(layer, kind)
    return found if found.endswith(".weight") else f"{found}.weight"


@name_exercise.variant
def _(layer, kind):
    ends = {"A": "lora_A.weight", "B": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
    return ".".join(("base_model", "model", layer, ends[kind]))


rows_exercise = Exercise(
    "ex-peft-lignes",
    title="La tête aux lignes apprises",
    level="moyen",
    minutes=10,
    hints=(
        "Calculez d’abord les logits de la table d’origine.",
        "Ceux des tokens de ids se recalculent avec rows : out[:, ids] = h @ rows.T.",
    ),
)


@rows_exercise.reference
def logits(h, E, ids, rows):
    """h : (T, C) ; E : (V, C) ; ids : (k,) ; rows : (k, C) ; renvoie (T, V)."""
    out = h @ E.T
    out[:, ids] = h @ rows.T
    return out


@rows_exercise.cases
def _(rng):
    for V, k in ((6, 2), (9, 3), (5, 1)):
        ids = rng.permutation(V)[:k]
        yield rng.normal(size=(4, 3)), rng.normal(size=(V, 3)), ids, rng.normal(size=(k, 3))


@rows_exercise.trap("Les lignes apprises remplacent celles de la table, elles ne s’y ajoutent pas.")
def _(h, E, ids, rows):
    out = h @ E.T
    out[:, ids] += h @ rows.T
    return out


@rows_exercise.trap("Vous écrivez dans les k premières colonnes : ce sont celles de ids.")
def _(h, E, ids, rows):
    out = h @ E.T
    out[:, : len(ids)] = h @ rows.T
    return out


@rows_exercise.trap("Les lignes apprises ne servent pas : la tête est restée celle de la base.")
def _(h, E, ids, rows):
    return h @ E.T


@rows_exercise.trap("L’ordre de ids n’est pas celui de la table : rows[j] est la ligne de ids[j].")
def _(h, E, ids, rows):
    out = h @ E.T
    out[:, np.sort(ids)] = h @ rows.T
    return out


@rows_exercise.variant
def _(h, E, ids, rows):
    place = {int(i): j for j, i in enumerate(ids)}
    columns = [h @ (rows[place[v]] if v in place else E[v]) for v in range(len(E))]
    return np.stack(columns, axis=1)


lot_exercise = Exercise(
    "ex-peft-lot",
    title="Un lot, plusieurs adaptateurs",
    level="difficile",
    minutes=15,
    hints=(
        "La base se calcule une fois pour tout le lot : X @ W.T.",
        "Pour chaque nom, ajoutez la correction aux seules lignes qui le portent.",
        "Une correction : scale * (X @ A.T) @ B.T ; __base__ n’en a pas.",
    ),
)


@lot_exercise.reference
def mixed(X, W, adapters, names):
    """X : (B, n) ; W : (m, n) ; adapters : nom -> (A, B, scale) ; renvoie (B, m)."""
    out = X @ W.T
    names = np.array(names)
    for name, (A, B, scale) in adapters.items():
        mine = names == name
        out[mine] += scale * (X[mine] @ A.T) @ B.T
    return out


@lot_exercise.cases
def _(rng):
    def adapter(r, scale):
        return rng.normal(size=(r, 4)), rng.normal(size=(3, r)), scale

    adapters = {"sql": adapter(2, 2.0), "code": adapter(1, 0.5)}
    W = rng.normal(size=(3, 4))
    yield rng.normal(size=(4, 4)), W, adapters, ["sql", "__base__", "code", "sql"]
    yield rng.normal(size=(2, 4)), W, adapters, ["__base__", "__base__"]
    yield rng.normal(size=(3, 4)), W, adapters, ["code", "code", "code"]


def _mixed(X, W, adapters, names, scaled=True):
    lines = []
    for x, name in zip(X, names, strict=True):
        y = W @ x
        if name in adapters:
            A, B, scale = adapters[name]
            y = y + (scale if scaled else 1) * B @ (A @ x)
        lines.append(y)
    return np.array(lines)


@lot_exercise.trap("L’échelle de chaque adaptateur manque.")
def _(X, W, adapters, names):
    return _mixed(X, W, adapters, names, scaled=False)


@lot_exercise.trap("Chaque ligne a son adaptateur : vous donnez le premier à tout le lot.")
def _(X, W, adapters, names):
    return _mixed(X, W, adapters, [names[0]] * len(names))


@lot_exercise.trap("La base manque : l’adaptateur ajoute une correction à W x.")
def _(X, W, adapters, names):
    return _mixed(X, 0 * W, adapters, names)


@lot_exercise.trap("__base__ ne reçoit aucune correction, et vous lui en donnez une.")
def _(X, W, adapters, names):
    first = next(iter(adapters))
    return _mixed(X, W, adapters, [first if name == "__base__" else name for name in names])


@lot_exercise.variant
def _(X, W, adapters, names):
    return _mixed(X, W, adapters, names)


targets_exercise = Exercise(
    "ex-peft-cibles",
    title="Les cibles qui ne visent rien",
    level="facile",
    minutes=6,
    hints=(
        "Une cible t correspond à name si name == t ou name.endswith('.' + t).",
        "Gardez celles pour qui any(...) est faux.",
    ),
)


@targets_exercise.reference
def unmatched(names, targets):
    """names : noms de couches ; targets : cibles ; renvoie une liste."""
    return [t for t in targets if not any(n == t or n.endswith(f".{t}") for n in names)]


@targets_exercise.cases
def _(rng):
    names = ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.o_proj", "lm_head"]
    names += ["model.layers.0.mlp.dense_h_to_4h", "model.layers.1.mlp.down_proj"]
    yield names, ["query_key_value", "dense", "o_proj"]
    yield names, ["q_proj", "down_proj"]
    yield names, ["lm_head", "proj", "c_attn"]
    yield names, ["mlp.down_proj", "mlp.q_proj"]


@targets_exercise.trap("Une sous-chaîne ne suffit pas : « dense » n’est pas « dense_h_to_4h ».")
def _(names, targets):
    return [t for t in targets if not any(t in n for n in names)]


@targets_exercise.trap("Le nom doit finir par un point suivi de la cible : « proj » ne vise rien.")
def _(names, targets):
    return [t for t in targets if not any(n.endswith(t) for n in names)]


@targets_exercise.trap("Un nom égal à la cible lui correspond aussi, comme lm_head.")
def _(names, targets):
    return [t for t in targets if not any(n.endswith(f".{t}") for n in names)]


@targets_exercise.trap("Vous renvoyez les cibles qui correspondent : on demande les autres.")
def _(names, targets):
    missing = unmatched(names, targets)
    return [t for t in targets if t not in missing]


@targets_exercise.trap("Une cible peut avoir plusieurs morceaux, comme « mlp.down_proj ».")
def _(names, targets):
    ends = {n.rpartition(".")[2] for n in names}
    return [t for t in targets if t not in ends]


@targets_exercise.variant
def _(names, targets):
    dotted = [f".{n}" for n in names]
    return [t for t in targets if sum(n.endswith(f".{t}") for n in dotted) == 0]
