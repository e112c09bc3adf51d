"""Mesurer un modèle : ses surprises, la syntaxe de ce qu’il écrit, ce qu’il répète ou recopie.

Un modèle est ici tout ce qui rend les logits (B, T, V) de tokens (B, T) : un `LanguageModel`, un
modèle de transformers, une fonction. Il doit être causal : les lots sont complétés à droite.
"""

import ast
import codeop
import lzma
import math
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

# Prédire des textes


class Score(NamedTuple):
    """Ce qu’un modèle dit d’un texte : somme des surprises, tokens prédits, justes, octets UTF-8."""

    nats: float
    n_tokens: int
    n_correct: int
    n_bytes: int

    @property
    def bits(self) -> float:
        return self.nats / math.log(2)


def score(
    model,
    tokenizer,
    texts: Sequence[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_size: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """Prédit chaque token de chaque texte une fois, par une fenêtre glissante : un Score par texte.

    Un texte est précédé de <|fin|>, qui n’est pas prédit. Ses tokens le sont sachant tout ce qui
    précède dans une fenêtre de `context` tokens, qui avance de `stride` : au moins
    context - stride tokens de passé, sauf au début du texte. Un petit stride est plus juste et
    plus lent. Défauts : le contexte du modèle, et sa moitié.

    tokenizer : celui du livre, ou un AutoTokenizer (<|fin|> est alors son token de début, sinon de
    fin). S’il perd du texte (<unk>), des bits par octet n’ont pas de sens.
    on_progress(faits, total), en tokens, est appelé après chaque lot.
    """
    import torch

    context, stride = _sizes(model, context, stride)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} : au moins une fenêtre par lot est attendue")
    documents = _encode(tokenizer, texts, _config(model, "vocab_size"))
    windows = _windows([len(ids) - 1 for ids in documents], context, stride)
    nats, correct = np.zeros(len(documents)), np.zeros(len(documents), dtype=int)
    seen, total = 0, sum(len(ids) - 1 for ids in documents)
    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    try:
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            with torch.no_grad():
                logits = _batch_logits(model, documents, batch)  # (B, T, V)
                for row, (i, start, done, end) in zip(logits, batch, strict=True):
                    targets = documents[i][done + 1 : end + 1]
                    loss, right = _surprise(row[done - start : end - start], targets)
                    nats[i] += loss
                    correct[i] += right
                    seen += end - done
            if on_progress is not None:
                on_progress(seen, total)
    finally:
        if was_training:
            model.train()
    if np.isnan(nats).any():
        raise ValueError("le modèle rend des NaN : ses poids sont-ils abîmés, ou sa précision ?")
    sizes = [len(text.encode()) for text in texts]
    return [
        Score(float(n), len(ids) - 1, int(c), size)
        for n, ids, c, size in zip(nats, documents, correct, sizes, strict=True)
    ]


def bits_per_byte(model, tokenizer, texts: Sequence[str], **options) -> float:
    """Somme des surprises, en bits, divisée par le nombre d’octets UTF-8. Options de `score`.

    Comparable d’un tokeniseur à l’autre, ce que la perplexité n’est pas.
    """
    scores = score(model, tokenizer, texts, **options)
    return sum(s.bits for s in scores) / sum(s.n_bytes for s in scores)


def perplexity(model, tokenizer, texts: Sequence[str], **options) -> float:
    """Exponentielle de la surprise moyenne d’un token. Options de `score`."""
    scores = score(model, tokenizer, texts, **options)
    mean = sum(s.nats for s in scores) / sum(s.n_tokens for s in scores)
    return math.exp(mean) if mean < 709 else math.inf


def accuracy(model, tokenizer, texts: Sequence[str], **options) -> float:
    """Part des tokens que le modèle place en tête (exactitude). Options de `score`."""
    scores = score(model, tokenizer, texts, **options)
    return sum(s.n_correct for s in scores) / sum(s.n_tokens for s in scores)


def _config(model, *names: str) -> int | None:
    """Le premier de ces champs qu’annonce model.config (celui du livre, ou de transformers)."""
    config = getattr(model, "config", None)
    return next((value for name in names if (value := getattr(config, name, None))), None)


def _sizes(model, context: int | None, stride: int | None) -> tuple[int, int]:
    limit = _config(model, "context", "max_position_embeddings")
    context = limit if context is None else context
    if context is None:
        raise ValueError("ce modèle n’annonce pas son contexte : donnez context")
    if context < 1:
        raise ValueError(f"context={context} : au moins un token est attendu")
    if limit and context > limit:
        raise ValueError(f"context={context} dépasse le contexte du modèle, {limit} tokens")
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"stride={stride} : un pas entre 1 et context={context} est attendu")
    return context, stride


def _windows(lengths: list[int], context: int, stride: int) -> list[tuple[int, int, int, int]]:
    """(document, début, déjà prédits, fin) de chaque fenêtre, les longues d’abord.

    La fenêtre lit les tokens début à fin - 1, et prédit ceux de rang déjà + 1 à fin. Des lots de
    même longueur demandent peu de remplissage.
    """
    windows = []
    for i, length in enumerate(lengths):
        start = done = 0
        while done < length:
            end = min(start + context, length)
            windows.append((i, start, done, end))
            start, done = start + stride, end
    return sorted(windows, key=lambda window: window[1] - window[3])


def _batch_logits(model, documents: list[list[int]], batch: list[tuple[int, int, int, int]]):
    """Logits (B, T, V) de quelques fenêtres, complétées à droite : un modèle causal l’ignore."""
    import torch

    longest = max(end - start for _, start, _, end in batch)
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, (i, start, _, end) in enumerate(batch):
        tokens[row, : end - start] = torch.tensor(documents[i][start:end])
    weight = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    output = model(tokens if weight is None else tokens.to(weight.device))
    return getattr(output, "logits", output)


def _surprise(logits, targets: list[int]) -> tuple[float, int]:
    """Somme des surprises (nats) et nombre de premiers rangs : logits (T, V), T cibles."""
    import torch

    if max(targets) >= logits.shape[-1]:
        raise ValueError(_foreign(max(targets), logits.shape[-1]))
    targets = torch.tensor(targets, device=logits.device)
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return float(loss.double().sum()), int((logits.argmax(-1) == targets).sum())


def _encode(tokenizer, texts: Sequence[str], vocab_size: int | None) -> list[list[int]]:
    """<|fin|> puis les tokens de chaque texte."""
    if isinstance(texts, str):
        raise ValueError("texts est une chaîne : donnez une liste de textes")
    if not len(texts):
        raise ValueError("aucun texte à évaluer")
    start, options = getattr(tokenizer, "fin", None), {}
    if start is None:  # transformers : ni <s> ajouté, ni marque spéciale lue dans le texte
        start = tokenizer.bos_token_id
        start = tokenizer.eos_token_id if start is None else start
        options = dict(add_special_tokens=False, split_special_tokens=True, verbose=False)
    if start is None:
        raise ValueError("ce tokeniseur n’a ni <|fin|>, ni token de début ou de fin de document")
    documents = []
    for i, text in enumerate(texts):
        ids = list(tokenizer.encode(text, **options))
        if not ids:
            raise ValueError(f"le texte {i} est vide : retirez-le de la liste")
        if vocab_size is not None and max(ids) >= vocab_size:
            raise ValueError(_foreign(max(ids), vocab_size))
        documents.append([int(start), *ids])
    return documents


def _foreign(token: int, vocab_size: int) -> str:
    return (
        f"token {token} : le vocabulaire du modèle va de 0 à {vocab_size - 1}. "
        "Ce tokeniseur est-il celui du modèle ?"
    )


# Comparer


def compressed_bits_per_byte(
    text: str, preset: int = 9 | lzma.PRESET_EXTREME, *, prefix: str = ""
) -> float:
    """Taille de `text` compressé par `xz -9e`, en bits par octet d’origine.

    prefix : un texte d’apprentissage placé devant, dont la taille compressée est soustraite,
    taille(prefix + text) - taille(prefix). Cela mesure ce que xz sait de `text` pour avoir lu
    `prefix`, comme un modèle entraîné ; sans lui, xz part de rien. Il n’en retient que les 64
    derniers Mio (son dictionnaire), et occupe environ 700 Mo.
    """
    data = text.encode()
    if not data:
        raise ValueError("le texte à compresser est vide")
    before = prefix.encode()
    size = len(lzma.compress(before + data, preset=preset))
    if before:
        size -= len(lzma.compress(before, preset=preset))
    return 8 * size / len(data)


class Difference(NamedTuple):
    """Une différence, son intervalle de confiance, et le nombre de documents."""

    value: float
    low: float
    high: float
    n: int


def paired_bootstrap(
    bits_a: Sequence[float],
    bits_b: Sequence[float],
    n_bytes: Sequence[int],
    *,
    draws: int = 10_000,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> Difference:
    """Différence a - b de bits par octet, et son intervalle par rééchantillonnage des documents.

    Chaque tirage reprend n documents avec remise, les mêmes pour les deux modèles : ce qu’un
    document a de difficile pour tous deux s’annule. Intervalle des quantiles (Efron, 1979,
    doi:10.1214/aos/1176344552). Négative d’un bout à l’autre : a prédit mieux.
    """
    n = len(n_bytes)
    if n < 2 or len(bits_a) != n or len(bits_b) != n:
        raise ValueError(
            f"{len(bits_a)} et {len(bits_b)} surprises pour {n} tailles : autant de chaque, sur "
            "au moins 2 documents, sont attendues"
        )
    gaps, sizes = np.subtract(bits_a, bits_b, dtype=float), np.asarray(n_bytes, dtype=float)
    if not (sizes > 0).all() or draws < 1 or not 0 < level < 1:
        raise ValueError("n_bytes et draws positifs, 0 < level < 1 sont attendus")
    rng = rng or np.random.default_rng(0)
    found = []
    for first in range(0, draws, chunk := max(1, 2**22 // n)):  # au plus 32 Mio à la fois
        times = rng.multinomial(n, np.full(n, 1 / n), size=min(chunk, draws - first))
        found.append((times @ gaps) / (times @ sizes))
    low, high = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(gaps.sum() / sizes.sum()), float(low), float(high), n)


# Lire ce qu’il écrit


class Rate(NamedTuple):
    """Une part de n essais, et son intervalle de Wilson."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, level: float = 0.95) -> Rate:
    """Part observée et son intervalle de confiance (Wilson, 1927, JASA 22:209).

    Reste dans [0, 1], et garde une largeur quand tout réussit ou que tout échoue.
    """
    if n < 1 or not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(f"{successes} réussites sur {n} essais au niveau {level} : impossible")
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    share = successes / n
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return Rate(share, max(0.0, center - half), min(1.0, center + half), n)


def parse_rate(samples: Sequence[str]) -> Rate:
    """Part des échantillons que `ast.parse` accepte en entier, avec au moins une instruction.

    Sévère pour un échantillon de longueur fixe, qui finit au milieu d’une ligne :
    voir `complete_parse_rate`.
    """
    failures = parse_failures(samples)
    return wilson(len(samples) - failures.total(), len(samples))


def complete_parse_rate(samples: Sequence[str]) -> Rate:
    """Comme `parse_rate`, après avoir coupé chacun à sa dernière instruction complète."""
    return parse_rate([complete_statements(sample) for sample in samples])


def parse_failures(samples: Sequence[str]) -> Counter[str]:
    """Nombre d’échecs par type d’erreur (SyntaxError, IndentationError…), « vide » compris."""
    if isinstance(samples, str) or not len(samples):
        raise ValueError("une liste d’au moins un échantillon est attendue")
    return Counter(error for sample in samples if (error := _parse(sample)[0]))


def complete_statements(sample: str) -> str:
    """L’échantillon sans sa dernière ligne entamée, ni l’instruction qu’elle laisse inachevée.

    On retire des lignes par la fin tant que l’analyseur de Python dit « entrée incomplète » :
    parenthèse ou docstring ouverte, `def` sans corps, `try` sans `except`. Une vraie faute, où
    qu’elle soit, arrête la coupe et reste dans le résultat. Limite : une triple quote jamais
    refermée passe pour une docstring que la longueur a coupée.
    """
    lines = sample.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines.pop()
    while lines and _parse("".join(lines))[1]:
        lines.pop()
    return "".join(lines)


def _parse(source: str) -> tuple[str, bool]:
    """Type d’erreur (vide si le texte s’analyse), et si une suite pourrait encore la réparer."""
    flags = ast.PyCF_ONLY_AST | codeop.PyCF_ALLOW_INCOMPLETE_INPUT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning : « \d », `1 is 2`
        try:
            return ("" if ast.parse(source).body else "vide"), False
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            name = type(error).__name__
        try:
            compile(source, "<échantillon>", "exec", flags)
        except SyntaxError as error:
            return name, "incomplete input" in str(error.msg)
        except (ValueError, RecursionError, MemoryError):
            pass
    return name, False


def distinct_n(samples: Iterable[Sequence[Hashable]], n: int = 2) -> float:
    """Part de n-grammes différents parmi tous ceux des échantillons (Li et coll., 2016, distinct-n).

    Un échantillon est une suite de tokens, de mots ou de caractères.
    """
    grams = [gram for sample in samples for gram in _grams(sample, n)]
    if not grams:
        raise ValueError(f"aucun échantillon n’a {n} éléments : prenez un n plus petit")
    return len(set(grams)) / len(grams)


def repetition_rate(sample: Sequence[Hashable], n: int = 4) -> float:
    """Part des n-grammes de l’échantillon déjà vus plus tôt en lui (Welleck et coll., 2020)."""
    return 1 - distinct_n([sample], n)


class LineIndex(NamedTuple):
    """Empreintes triées des suites de n lignes d’un corpus, valables dans ce processus."""

    n: int
    keys: np.ndarray


def line_index(texts: Iterable[str], n: int = 3) -> LineIndex:
    """Index des suites de n lignes non vides ; l’indentation est ignorée. 8 octets par suite."""
    keys = [np.fromiter(map(hash, _grams(_lines(text), n)), np.int64) for text in texts]
    if not sum(map(len, keys)):
        raise ValueError(f"le corpus est vide, ou aucun texte n’a {n} lignes")
    return LineIndex(n, np.unique(np.concatenate(keys)))


def copied_share(sample: str, index: LineIndex) -> float:
    """Part des lignes d’un échantillon prises dans une suite de n lignes recopiée du corpus.

    Des lignes isolées (`return None`) sont à tout le monde : seules comptent celles d’une suite
    de n. Un échantillon de moins de n lignes ne peut pas être reconnu : 0.
    """
    lines = _lines(sample)
    if not lines:
        raise ValueError("l’échantillon est vide")
    copied = np.zeros(len(lines), dtype=bool)
    for i, gram in enumerate(_grams(lines, index.n)):
        place = np.searchsorted(index.keys, hash(gram))
        if place < len(index.keys) and index.keys[place] == hash(gram):
            copied[i : i + index.n] = True
    return float(copied.mean())


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _grams(sequence: Sequence[Hashable], n: int) -> list[tuple]:
    if n < 1:
        raise ValueError(f"n={n} : des suites d’au moins un élément sont attendues")
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]
