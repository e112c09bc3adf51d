"""Chapitre 1 : ce que coûtent les versions écrites pour être lues."""

import numpy as np

from llmbook import cooccurrence, corpus
from llmbook.autograd import Value
from llmbook.maths import softmax
from tools.bench import Contest, bench


@bench("Gradient d’un réseau 8-16-1, un exemple", "Value, nombre par nombre", "torch, par tenseurs")
def scalar_autograd():
    import torch

    rng = np.random.default_rng(0)
    x, W, v = rng.normal(size=8), rng.normal(size=(16, 8)) / 3, rng.normal(size=16) / 4

    def by_numbers():
        weights = [[Value(w) for w in row] for row in W]
        output = Value(0.0)
        for row, out_weight in zip(weights, v, strict=True):
            total = Value(0.0)
            for weight, feature in zip(row, x, strict=True):
                total = total + weight * feature
            output = output + total.tanh() * out_weight
        (output * output).backward()
        return np.array([[weight.grad for weight in row] for row in weights])  # (16, 8)

    tx, tv = torch.tensor(x), torch.tensor(v)

    def by_tensors():
        weights = torch.tensor(W, requires_grad=True)
        (torch.tanh(weights @ tx) @ tv).square().backward()
        return weights.grad.numpy()

    return Contest(by_numbers, by_tensors, np.allclose)


@bench("Cooccurrences de 20 000 mots, V = 300", "boucles Python", "numpy, bincount par distance")
def cooccurrences():
    words = cooccurrence.identifier_words(corpus.sample("python"))[:20_000]
    vocabulary = cooccurrence.vocabulary(words, 300)
    window = 4

    def by_loops():
        index = {word: i for i, word in enumerate(vocabulary)}
        counts = np.zeros((len(vocabulary), len(vocabulary)))
        for here, word in enumerate(words):
            for there in range(max(0, here - window), min(len(words), here + window + 1)):
                if there != here and word in index and words[there] in index:
                    counts[index[word], index[words[there]]] += 1
        return counts

    return Contest(
        by_loops,
        lambda: cooccurrence.cooccurrence_counts(words, vocabulary, window),
        np.array_equal,
    )


@bench("PPMI d’une matrice 300 × 300", "boucles Python", "numpy")
def ppmi():
    words = cooccurrence.identifier_words(corpus.sample("python"))[:20_000]
    counts = cooccurrence.cooccurrence_counts(words, cooccurrence.vocabulary(words, 300), 4)

    def by_loops():
        total, rows, columns = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
        result = np.zeros_like(counts)
        for i in range(len(rows)):
            for j in range(len(columns)):
                if counts[i, j] > 0:
                    result[i, j] = max(0.0, np.log(counts[i, j] * total / (rows[i] * columns[j])))
        return result

    return Contest(by_loops, lambda: cooccurrence.ppmi(counts), np.allclose)


@bench("Softmax de 512 lignes de 1 000 logits", "llmbook.maths (numpy)", "torch")
def softmax_rows():
    import torch

    logits = np.random.default_rng(0).normal(size=(512, 1000))
    tensor = torch.tensor(logits)
    return Contest(
        lambda: softmax(logits),
        lambda: torch.softmax(tensor, dim=-1),
        lambda ours, theirs: np.allclose(ours, theirs.numpy()),
    )
