"""llmbook.kneser_ney, comparé à la formule écrite en dictionnaires, et à elle-même par deux chemins."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from llmbook.kneser_ney import FALLBACK, NgramLM

V = 12


def corpus(n: int, seed: int = 0, vocab_size: int = V) -> np.ndarray:
    """Suite inégale où chaque token dépend du précédent ; 0 (<|fin|>) y revient souvent."""
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.full(vocab_size, 0.3), size=vocab_size) * 0.9 + 0.1 / vocab_size
    tokens = [1]
    for _ in range(n - 1):
        tokens.append(int(rng.choice(vocab_size, p=law[tokens[-1]])))
    return np.array(tokens)


class DictionaryKN:
    """La formule de Chen et Goodman, lettre à lettre, document par document."""

    def __init__(self, tokens, order, vocab_size, fin=0):
        self.order, self.vocab_size, self.fin = order, vocab_size, fin
        occurrences = [Counter() for _ in range(order + 1)]
        before = [defaultdict(set) for _ in range(order + 1)]
        history = [fin]
        for token in tokens:
            history.append(int(token))
            for k in range(1, min(order, len(history)) + 1):
                gram = tuple(history[-k:])
                occurrences[k][gram] += 1
                if k < len(history):
                    before[k][gram].add(history[-k - 1])
            if token == fin:
                history = [fin]
        self.counts, self.D = [None], [None]
        for k in range(1, order + 1):
            counts = {
                gram: n if k == order or (k > 1 and gram[0] == fin) else len(before[k][gram])
                for gram, n in occurrences[k].items()
            }
            n1, n2, n3, n4 = (sum(c == i for c in counts.values()) for i in (1, 2, 3, 4))
            D = FALLBACK
            if n1 and n2 and n3:
                Y = n1 / (n1 + 2 * n2)
                guess = (1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3)
                if all(0 < d <= i for i, d in enumerate(guess, 1)):
                    D = guess
            self.counts.append(counts)
            self.D.append(D)

    def prob(self, h: tuple, w: int) -> float:
        p = 1 / self.vocab_size
        for k in range(1, min(self.order, len(h) + 1) + 1):
            context = h[len(h) - k + 1 :]
            after = {g[-1]: c for g, c in self.counts[k].items() if g[:-1] == context}
            if not after:
                break
            total, D = sum(after.values()), self.D[k]
            gamma = sum(D[min(c, 3) - 1] for c in after.values()) / total
            c = after.get(w, 0)
            p = (c - D[min(c, 3) - 1] if c else 0) / total + gamma * p
        return p

    def log_probs(self, tokens) -> list[float]:
        history, found = [self.fin], []
        for token in map(int, tokens):
            found.append(np.log(self.prob(tuple(history), token)))
            history = [self.fin] if token == self.fin else [*history, token]
        return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [3, 60, 1500])
def test_equals_the_formula_in_dictionaries(order, size):
    model = NgramLM(corpus(size), order=order, vocab_size=V)
    formula = DictionaryKN(corpus(size), order, V)
    np.testing.assert_allclose(model.discounts, formula.D[1:], rtol=1e-12)
    test = corpus(150, seed=1)
    np.testing.assert_allclose(model.log_probs(test), formula.log_probs(test), atol=1e-5)


# lmplz de KenLM (-o 3 --discount_fallback) sur les documents non vides de corpus(3000) : log10 p.
KENLM_TEST = [3, 5, 1, 2, 9, 0, 11, 11, 4, 7, 0, 6, 8, 10, 3, 3, 0]
KENLM_DISCOUNTS = [
    (0.5, 1, 1.5),
    (0.291667, 1.17647, 2.19792),
    (0.51282, 1.22499, 1.49981),
]
# fmt: off
KENLM_LOG10 = [
    -1.298484, -1.454047, -1.290934, -1.622422, -0.629592, -1.655652, -1.234137, -1.243295,
    -1.661942, -1.715064, -1.704553, -0.911569, -0.968821, -1.539139, -1.358681, -1.790984,
    -1.514108,
]
# fmt: on


def test_equals_kenlm():
    """Les nombres de KenLM, figés ici ; son vocabulaire a un <unk> de plus que le nôtre."""
    tokens = np.append(corpus(3000), 0)
    tokens = tokens[(tokens != 0) | (np.roll(tokens, 1) != 0)]  # pas de document vide
    model = NgramLM(tokens, order=3, vocab_size=V + 1)
    np.testing.assert_allclose(model.discounts, KENLM_DISCOUNTS, rtol=1e-5)
    ours = model.log_probs(KENLM_TEST) / np.log(10)
    np.testing.assert_allclose(ours, KENLM_LOG10, atol=2e-6)


def test_estimated_discounts_are_tried_too():
    """Sans quoi l’égalité ci-dessus ne porterait que sur les décotes de secours."""
    discounts = NgramLM(corpus(1500), order=5, vocab_size=V).discounts
    assert any(d != FALLBACK for d in discounts) and any(d == FALLBACK for d in discounts)


def test_probabilities_are_positive_and_sum_to_one():
    model = NgramLM(corpus(800), order=4, vocab_size=V + 3)  # 3 tokens jamais vus
    rng = np.random.default_rng(2)
    for length in range(7):
        p = model.distribution(rng.integers(0, V + 3, size=length))
        assert p.shape == (V + 3,) and (p > 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-6)


def test_distribution_and_log_probs_agree():
    for order in (1, 4):
        model = NgramLM(corpus(800), order=order, vocab_size=V)
        test = corpus(60, seed=3)
        one_by_one = [np.log(model.distribution(test[:i])[t]) for i, t in enumerate(test)]
        np.testing.assert_allclose(model.log_probs(test), one_by_one, atol=1e-6)


def test_documents_do_not_see_each_other():
    model = NgramLM(corpus(800), order=5, vocab_size=V)
    a, b = [3, 4, 5, 6], [7, 3, 8]
    apart = np.concatenate([model.log_probs([*a, 0]), model.log_probs(b)])
    np.testing.assert_allclose(model.log_probs([*a, 0, *b]), apart, rtol=1e-12)


def test_keys_fill_all_64_bits():
    """Quatre tokens de 16 bits, dont le plus grand : la clé n’a pas un bit de reste."""
    shift = 65_536 - V
    model = NgramLM(corpus(400) + shift, order=4, vocab_size=65_536, fin=65_535)
    formula = DictionaryKN(corpus(400) + shift, 4, 65_536, fin=65_535)
    test = corpus(80, seed=1) + shift
    np.testing.assert_allclose(model.log_probs(test), formula.log_probs(test), atol=1e-5)
    assert model.distribution(test[-3:]).sum() == pytest.approx(1, abs=1e-4)


class Letters:
    """Un tokeniseur d’une lettre par token."""

    fin = 0

    def encode(self, text):
        return [1 + "abcdeé ".index(letter) for letter in text]


def test_bits_per_byte_divides_the_surprise_by_the_bytes():
    texts, tokenizer = ["abé abé", "e", "dada cab"], Letters()
    train = [t for text in ["abé cab", "dada", "abé"] for t in [*tokenizer.encode(text), 0]]
    model = NgramLM(train, order=3, vocab_size=8)
    bits, sizes = model.document_bits(texts, tokenizer)
    alone = [-model.log_probs(tokenizer.encode(text)).sum() / np.log(2) for text in texts]
    np.testing.assert_allclose(bits, alone, rtol=1e-12)
    assert sizes.tolist() == [len(text.encode()) for text in texts] == [9, 1, 8]
    assert model.bits_per_byte(texts, tokenizer) == pytest.approx(sum(alone) / 18)


def test_a_longer_context_helps_on_text_that_needs_it():
    tokens = np.tile([1, 1, 2, 1, 1, 1, 3], 200)  # ce qui suit « 1 1 » dépend de plus loin
    losses = [-NgramLM(tokens, order=n, vocab_size=4).log_probs(tokens).mean() for n in (1, 2, 5)]
    assert losses[0] > losses[1] > 3 * losses[2]


BAD = [
    (dict(tokens=[]), "vide"),
    (dict(order=0), "ordre d’au moins 1"),
    (dict(order=5, vocab_size=50_000), "order ≤ 4"),
    (dict(tokens=[1, 4]), "vocabulaire va de 0 à 3"),
    (dict(tokens=[1, -1]), "vocabulaire va de 0 à 3"),
    (dict(tokens=[0.5, 1.0]), "entiers"),
    (dict(tokens=[[1, 2]]), "suite plate"),
    (dict(vocab_size=0), "vocab_size=0"),
    (dict(fin=4), "fin=4"),
]


@pytest.mark.parametrize("changes, message", BAD)
def test_bad_training_input(changes, message):
    with pytest.raises(ValueError, match=message):
        NgramLM(**(dict(tokens=[1, 2], order=2, vocab_size=4) | changes))


def test_bad_evaluation_input():
    model = NgramLM([1, 2, 3], order=2, vocab_size=8)
    with pytest.raises(ValueError, match="vocabulaire"):
        model.log_probs([8])
    with pytest.raises(ValueError, match="vocabulaire"):
        model.distribution([8])
    with pytest.raises(ValueError, match="liste de textes"):
        model.bits_per_byte("abc", Letters())
    with pytest.raises(ValueError, match="aucun texte"):
        model.bits_per_byte([], Letters())
    with pytest.raises(ValueError, match="texte 1 est vide"):
        model.bits_per_byte(["abc", ""], Letters())
    with pytest.raises(ValueError, match="fin=tokenizer.fin"):
        NgramLM([1], vocab_size=8, fin=7).bits_per_byte(["abc"], Letters())
    assert model.log_probs([]).shape == (0,)
