"""Exercices de la section « Théorie de l’information »."""

import heapq
from collections import Counter
from itertools import count

import numpy as np

from llmbook.exercise import Exercise


def _entropy(p):
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def _frequencies(text):
    counts = np.array(sorted(Counter(text).values()), dtype=float)
    return counts / counts.sum()


entropy_exercise = Exercise(
    "ex-information-entropie", title="L’entropie d’un texte", level="facile", minutes=8,
    hints=("Counter(text).values() donne les nombres d’occurrences ; divisez par len(text).",
           "L’entropie est la moyenne de −log2 p, pondérée par p."))


@entropy_exercise.reference
def text_entropy(text):
    """Entropie des caractères de text, en bits par caractère."""
    p = np.array(list(Counter(text).values())) / len(text)
    return -(p * np.log2(p)).sum()


@entropy_exercise.cases
def _(rng):
    yield "abracadabra"
    yield "to be or not to be"
    yield "for i in range(10):\n    print(i)"


@entropy_exercise.trap("Vous avez pris le logarithme naturel : le résultat est en nats. En bits, "
                       "c’est np.log2.")
def _(text):
    p = _frequencies(text)
    return -(p * np.log(p)).sum()


@entropy_exercise.trap("C’est log2 du nombre de caractères différents, l’entropie d’une loi "
                       "uniforme : pondérez par les fréquences.")
def _(text):
    return np.log2(len(set(text)))


@entropy_exercise.trap("C’est la quantité totale : divisez par la longueur pour l’avoir par "
                       "caractère.")
def _(text):
    return len(text) * _entropy(_frequencies(text))


@entropy_exercise.trap("Vous faites la moyenne des surprises sans les pondérer : un caractère rare "
                       "compte ici autant qu’un caractère fréquent.")
def _(text):
    return -np.log2(_frequencies(text)).mean()


@entropy_exercise.trap("Le signe manque : log2 p est négatif, l’entropie est positive.")
def _(text):
    return -_entropy(_frequencies(text))


@entropy_exercise.trap("Vous avez divisé par log2 du nombre de caractères différents : c’est une part de "
                       "l’entropie maximale, pas des bits.")
def _(text):
    p = _frequencies(text)
    return _entropy(p) / np.log2(len(p))


@entropy_exercise.variant
def _(text):
    return np.log2(len(text)) - sum(n * np.log2(n) for n in Counter(text).values()) / len(text)


bytes_exercise = Exercise(
    "ex-information-octets", title="Comparer deux tokeniseurs", level="moyen", minutes=10,
    hints=("Convertissez la perte totale de nats en bits : divisez par ln 2.",
           "Le dénominateur est le nombre d’octets, len(text.encode())."))


@bytes_exercise.reference
def bits_per_byte(losses, text):
    """losses : pertes en nats, une par token de text ; renvoie des bits par octet."""
    return losses.sum() / np.log(2) / len(text.encode("utf-8"))


@bytes_exercise.cases
def _(rng):
    yield rng.uniform(0, 6, size=5), "L’été s’achève."
    yield rng.uniform(0, 6, size=12), "où êtes-vous allés ?"
    yield rng.uniform(0, 3, size=9), "cœur d’élève"


@bytes_exercise.trap("Les pertes sont en nats : divisez par ln 2 pour obtenir des bits.")
def _(losses, text):
    return losses.sum() / len(text.encode("utf-8"))


@bytes_exercise.trap("Vous divisez par le nombre de caractères : é ou ’ occupent plusieurs octets "
                     "en UTF-8.")
def _(losses, text):
    return losses.sum() / np.log(2) / len(text)


@bytes_exercise.trap("Ce sont des bits par token, qui dépendent du tokeniseur : divisez la somme "
                     "par le nombre d’octets.")
def _(losses, text):
    return losses.mean() / np.log(2)


@bytes_exercise.trap("Il faut diviser par ln 2, non multiplier : un nat vaut plus d’un bit.")
def _(losses, text):
    return losses.sum() * np.log(2) / len(text.encode("utf-8"))


@bytes_exercise.trap("Ce sont des bits par token, encore divisés par le nombre d’octets : partez de la "
                     "somme des pertes, pas de leur moyenne.")
def _(losses, text):
    return losses.mean() / np.log(2) / len(text.encode("utf-8"))


@bytes_exercise.trap("C’est la perplexité par token, l’exponentielle de la perte moyenne : elle dépend du "
                     "tokeniseur.")
def _(losses, text):
    return np.exp(losses.mean())


@bytes_exercise.variant
def _(losses, text):
    return -np.log2(np.exp(-losses)).sum() / len(bytearray(text, "utf-8"))


huffman_exercise = Exercise(
    "ex-information-huffman", title="La longueur moyenne, sans le code", level="difficile",
    minutes=25,
    hints=("À chaque fusion, tous les symboles des deux groupes gagnent un bit.",
           "La longueur moyenne est donc la somme des probabilités des groupes fusionnés.",
           "heapq.heappop rend la plus petite valeur ; il y a len(p) − 1 fusions."))


@huffman_exercise.reference
def huffman_length(p):
    """p : (K,), de somme 1 ; renvoie le nombre moyen de bits par symbole du code de Huffman."""
    heap = list(p)
    heapq.heapify(heap)
    total = 0.0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@huffman_exercise.cases
def _(rng):
    yield np.array([0.4, 0.2, 0.2, 0.1, 0.1])
    yield np.array([0.7, 0.1, 0.08, 0.07, 0.05])
    p = rng.random(9)
    yield p / p.sum()


@huffman_exercise.trap("C’est l’entropie, la borne : les longueurs de Huffman sont entières et "
                       "leur moyenne la dépasse.")
def _(p):
    return _entropy(p)


@huffman_exercise.trap("Arrondir chaque surprise à l’entier supérieur donne un code valable, mais "
                       "pas le meilleur : fusionnez les deux groupes les moins probables.")
def _(p):
    return (p * np.ceil(-np.log2(p))).sum()


@huffman_exercise.trap("C’est un code de longueur fixe : les symboles fréquents doivent avoir un "
                       "code plus court.")
def _(p):
    return np.ceil(np.log2(len(p)))


@huffman_exercise.trap("Vous fusionnez toujours le dernier groupe formé avec le symbole suivant : "
                       "remettez-le dans la file, à sa place.")
def _(p):
    ordered = np.sort(p)
    return np.cumsum(ordered)[1:].sum()


@huffman_exercise.trap("Il manque la dernière fusion, celle des deux derniers groupes : elle ajoute un bit "
                       "à tous les symboles.")
def _(p):
    return huffman_length(p) - 1


@huffman_exercise.trap("Arrondir chaque surprise à l’entier le plus proche ne donne pas toujours un code "
                       "préfixe : fusionnez les deux groupes les moins probables.")
def _(p):
    return (p * np.round(-np.log2(p))).sum()


@huffman_exercise.trap("Les probabilités de départ ne sont pas des fusions : n’ajoutez que les groupes "
                       "formés.")
def _(p):
    return huffman_length(p) + 1


@huffman_exercise.variant
def _(p):
    ticket = count()
    heap = [(float(x), next(ticket), [i]) for i, x in enumerate(p)]
    heapq.heapify(heap)
    lengths = np.zeros(len(p))
    while len(heap) > 1:
        a, _, left = heapq.heappop(heap)
        b, _, right = heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (a + b, next(ticket), left + right))
    return p @ lengths


mutual_exercise = Exercise(
    "ex-information-mutuelle", title="L’information mutuelle d’un tableau", level="moyen",
    minutes=12,
    hints=("Divisez d’abord le tableau par sa somme : c’est la loi jointe.",
           "Les lois marginales sont les sommes sur chaque axe ; I = H(X) + H(Y) − H(X, Y).",
           "Une case nulle compte pour zéro : écartez-la avant de prendre le logarithme."))


@mutual_exercise.reference
def mutual_bits(counts):
    """counts : (Kx, Ky), nombres de couples observés ; renvoie I(X ; Y) en bits."""
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return (joint[seen] * np.log2(joint[seen] / independent[seen])).sum()


@mutual_exercise.cases
def _(rng):
    yield np.array([[40, 10], [5, 45]])
    yield rng.integers(1, 30, size=(4, 3))
    yield np.array([[12, 0, 3], [0, 8, 1]])


@mutual_exercise.trap("C’est l’entropie jointe H(X, Y) : retranchez-la de H(X) + H(Y).")
def _(counts):
    return _entropy((counts / counts.sum()).ravel())


@mutual_exercise.trap("C’est une entropie conditionnelle, ce qui reste d’incertitude ; "
                      "l’information mutuelle est ce qui en a été retiré.")
def _(counts):
    joint = counts / counts.sum()
    return _entropy(joint.ravel()) - _entropy(joint.sum(axis=1))


@mutual_exercise.trap("Vous avez pris le logarithme naturel : le résultat est en nats.")
def _(counts):
    joint = counts / counts.sum()
    total = _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())
    return total * np.log(2)


@mutual_exercise.trap("Le tableau contient des nombres d’observations : divisez par leur somme "
                      "avant tout.")
def _(counts):
    independent = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True)
    seen = counts > 0
    return (counts[seen] * np.log2(counts[seen] / independent[seen])).sum()


@mutual_exercise.trap("C’est H(X | Y), ce qui reste d’incertitude sur X ; l’information mutuelle est ce "
                      "qui en a été retiré.")
def _(counts):
    joint = counts / counts.sum()
    return _entropy(joint.ravel()) - _entropy(joint.sum(axis=0))


@mutual_exercise.trap("Une case nulle donne 0 × log 0, qui n’est pas un nombre : elle compte pour zéro, "
                      "écartez-la.")
def _(counts):
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    with np.errstate(all="ignore"):
        return (joint * np.log2(joint / independent)).sum()


@mutual_exercise.variant
def _(counts):
    joint = counts / counts.sum()
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())


loss_exercise = Exercise(
    "ex-information-perte", title="La perte, sans infini", level="moyen", minutes=15,
    hints=("La perte d’un exemple est logsumexp(logits) − logits[cible].",
           "Retirez le maximum de chaque ligne avant l’exponentielle : la perte ne change pas."))


@loss_exercise.reference
def stable_loss(logits, targets):
    """logits : (B, V) ; targets : (B,) entiers ; renvoie la perte moyenne, en nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_z = np.log(np.exp(shifted).sum(axis=1))
    return (log_z - shifted[np.arange(len(targets)), targets]).mean()


@loss_exercise.cases
def _(rng):
    yield rng.normal(size=(4, 5)), np.array([0, 3, 2, 4])
    yield np.array([[1000.0, 0.0, -5.0], [2.0, 1.0, 0.0]]), np.array([1, 0])
    yield np.array([[-900.0, -901.0], [0.0, 3.0]]), np.array([0, 1])


@loss_exercise.trap("np.exp déborde : l’exponentielle de 1 000 est infinie. Retirez d’abord le "
                    "maximum de chaque ligne.")
def _(logits, targets):
    with np.errstate(all="ignore"):
        e = np.exp(logits)
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(targets)), targets]).mean()


@loss_exercise.trap("La probabilité s’annule avant le logarithme. Ne calculez pas le softmax : "
                    "restez en logarithmes.")
def _(logits, targets):
    with np.errstate(all="ignore"):
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(targets)), targets]).mean()


@loss_exercise.trap("Ajouter un petit nombre sous le logarithme cache l’infini, mais la perte est "
                    "fausse : elle est plafonnée.")
def _(logits, targets):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(targets)), targets] + 1e-12).mean()


@loss_exercise.trap("C’est la somme des pertes : on demande leur moyenne.")
def _(logits, targets):
    top = logits.max(axis=1)
    log_z = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return (log_z - logits[np.arange(len(targets)), targets]).sum()


@loss_exercise.trap("Le maximum retiré dans l’exponentielle doit l’être aussi du logit de la "
                    "cible, ou être ajouté au résultat.")
def _(logits, targets):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_z = np.log(np.exp(shifted).sum(axis=1))
    return (log_z - logits[np.arange(len(targets)), targets]).mean()


@loss_exercise.trap("Votre perte est en bits : elle est demandée en nats, avec le logarithme naturel.")
def _(logits, targets):
    return stable_loss(logits, targets) / np.log(2)


@loss_exercise.trap("logits[:, targets] croise toutes les lignes avec toutes les cibles : écrivez "
                    "logits[np.arange(B), targets].")
def _(logits, targets):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_z = np.log(np.exp(shifted).sum(axis=1))
    return (log_z[:, None] - shifted[:, targets]).mean()


@loss_exercise.variant
def _(logits, targets):
    rows = zip(logits, targets, strict=True)
    return np.mean([np.logaddexp.reduce(z) - z[y] for z, y in rows])


temperature_exercise = Exercise(
    "ex-information-temperature", title="La température d’une entropie", level="difficile",
    minutes=20, rtol=1e-4,
    hints=("L’entropie de softmax(z / T) croît avec T.",
           "Une dichotomie sur ln T, de 1e-3 à 1e3, converge en une soixantaine de pas.",
           "Si l’entropie du milieu est trop petite, il faut chercher plus chaud."))


def _softmax_entropy(z, T):
    e = np.exp((z - z.max()) / T)
    return _entropy(e / e.sum())


def _bisect(measure, target, low=1e-3, high=1e3):
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if measure(middle) < target else (low, middle)
    return middle


@temperature_exercise.reference
def temperature_for(z, bits):
    """z : (V,) logits ; renvoie T tel que softmax(z / T) ait une entropie de `bits` bits."""
    low, high = 1e-3, 1e3
    for _ in range(80):
        T = np.sqrt(low * high)
        weights = np.exp((z - z.max()) / T)
        p = weights[weights > 0] / weights.sum()
        if -(p * np.log2(p)).sum() < bits:
            low = T
        else:
            high = T
    return T


@temperature_exercise.cases
def _(rng):
    yield np.array([2.0, 1.0, 0.0, -1.0]), 1.2
    yield rng.normal(scale=2, size=10), 2.5
    yield np.array([0.0, 3.0, 1.0]), 0.4


@temperature_exercise.trap("C’est l’inverse de la température : on divise les logits par T.")
def _(z, bits):
    return 1 / _bisect(lambda T: _softmax_entropy(z, T), bits)


@temperature_exercise.trap("Votre entropie est en nats ; celle qu’on demande est en bits.")
def _(z, bits):
    return _bisect(lambda T: _softmax_entropy(z, T) * np.log(2), bits)


@temperature_exercise.trap("C’est la perplexité que vous égalez à la cible : comparez l’entropie, "
                           "son logarithme en base 2.")
def _(z, bits):
    return _bisect(lambda T: 2 ** _softmax_entropy(z, T), bits)


@temperature_exercise.trap("La dichotomie part du mauvais côté : une entropie trop petite demande "
                           "une température plus grande.")
def _(z, bits):
    return _bisect(lambda T: -_softmax_entropy(z, T), -bits)


@temperature_exercise.trap("Vous comparez l’entropie divisée par log2 V, une part du maximum : la cible "
                           "est en bits.")
def _(z, bits):
    return _bisect(lambda T: _softmax_entropy(z, T) / np.log2(len(z)), bits)


@temperature_exercise.trap("Une grille de températures est trop grossière : il faut quatre chiffres "
                           "justes, donc une dichotomie.")
def _(z, bits):
    grid = np.linspace(0.01, 10, 1000)
    return min(grid, key=lambda T: abs(_softmax_entropy(z, T) - bits))


@temperature_exercise.variant
def _(z, bits):
    from scipy.optimize import brentq

    return np.exp(brentq(lambda s: _softmax_entropy(z, np.exp(s)) - bits, -6, 6, xtol=1e-12))
