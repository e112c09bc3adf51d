"""WordPiece et Unigram : égaux à tokenizers, encodage comme apprentissage ; propriétés du modèle."""

import itertools
import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from llmbook import corpus
from llmbook import tokenizer_unigram_train as learning
from llmbook.tokenizer_unigram import Unigram, byte_pieces, split_metaspace
from llmbook.tokenizer_wordpiece import (
    Corpus,
    WordPiece,
    frequency,
    likelihood_gain,
    normalize_bert,
    ratio,
    split_bert,
    train_wordpiece,
)

FRENCH, PYTHON = corpus.sample("francais")[:40_000], corpus.sample("python")[:40_000]
TEXTS = [
    "L’été s’achève : œuvres, ŒUVRES, naïveté… 3,14 € à Zürich ; où êtes-vous ?",
    "def f(x):\n    return self.x[0] ** 2  # commentaire\n",
    "日本語とРусский 🦀 e\u0301 \u200b\u00ad x" + "y" * 120,
    "",
    " ",
    "  deux  blancs  ",
    "<unk> [UNK] <0x41> ##s ▁",
]
texts = st.one_of(st.text(max_size=40), st.text("éàabs ▁#<unk>[UNK]\n0", max_size=30))


# WordPiece


@pytest.fixture(scope="module")
def wordpiece():
    """Le même vocabulaire chez nous et dans la bibliothèque, dont on fixe l’ordre de l’alphabet."""
    words = Counter(split_bert(FRENCH + PYTHON))
    mine = train_wordpiece(words, 900)
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = sorted({char for word in words for char in word})
    alphabet += sorted({"##" + char for word in words for char in word[1:]})
    options = dict(special_tokens=["[UNK]", *alphabet], vocab_size=900, show_progress=False)
    library.train_from_iterator([FRENCH + PYTHON], trainers.WordPieceTrainer(**options))
    clean = Tokenizer(library.model)  # sans les marques, qui couperaient le texte
    clean.pre_tokenizer = library.pre_tokenizer
    return WordPiece(mine), clean


def test_wordpiece_training_equals_tokenizers(wordpiece):
    mine, library = wordpiece
    assert mine.ids == library.get_vocab() and len(mine.ids) == 900


@pytest.mark.parametrize(
    "text", [*TEXTS, FRENCH[:3000], PYTHON[:3000], corpus.sample("anglais")[:3000]]
)
def test_wordpiece_encoding_equals_tokenizers(wordpiece, text):
    mine, library = wordpiece
    assert mine.encode(text) == library.encode(text).ids


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_wordpiece_encoding_equals_tokenizers_on_anything(wordpiece, text):
    mine, library = wordpiece
    if any(unicodedata.category(char) in ("Cs", "Cn") for char in text):
        return
    if split_bert(text) == [word for word, _ in library.pre_tokenizer.pre_tokenize_str(text)]:
        assert mine.encode(text) == library.encode(text).ids


def test_split_and_normalize_equal_bert_on_every_old_character():
    """Sur les caractères dont la catégorie n’a pas changé depuis Unicode 3.2, idéogrammes compris :
    pour les autres, les tables de la bibliothèque et celles de Python n’ont pas le même âge."""
    stable = (
        unicodedata.ucd_3_2_0.category(c) == unicodedata.category(c)
        for c in map(chr, range(0x110000))
    )
    old = [c for c, same in zip(map(chr, range(0x110000)), stable, strict=True) if same]
    old = [c for c in old if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    split, both = pre_tokenizers.BertPreTokenizer(), (True, False)
    clean = [normalizers.BertNormalizer(lowercase=lowercase) for lowercase in both]
    changed = 0
    for start in range(0, len(old), 50):
        text = "".join(f"a{char}b " for char in old[start : start + 50])
        assert split_bert(text) == [word for word, _ in split.pre_tokenize_str(text)]
        for library, lowercase in zip(clean, both, strict=True):
            assert normalize_bert(text, lowercase=lowercase) == library.normalize_str(text)
        changed += normalize_bert(text) != text
    assert changed > 1000
    assert normalize_bert("Élève", lowercase=True) == "eleve"


def test_wordpiece_loses_the_whole_word_and_long_words():
    model = WordPiece(["[UNK]", "a", "##a", "##b"], max_chars=4)
    assert model.tokenize("aabb") == ["a", "##a", "##b", "##b"]
    assert model.tokenize("aab") + model.tokenize("aac") == ["a", "##a", "##b", "[UNK]"]
    assert model.tokenize("b") == ["[UNK]"]  # seulement connu au milieu d’un mot
    assert model.tokenize("aaaaa") == ["[UNK]"]
    assert model.decode(model.encode("aab a")) == "aab a"


def test_wordpiece_is_greedy():
    """Le plus long début n’est pas toujours la découpe la plus courte."""
    model = WordPiece(["[UNK]", "ab", "abc", "##c", "##d", "##e", "##cde"])
    assert model.tokenize("abcde") == ["abc", "##d", "##e"]


def test_likelihood_gain_is_the_change_of_log_likelihood():
    words = {"banane": 3, "bandeau": 2, "cabane": 4, "ananas": 1}
    tokens = train_wordpiece(words, 20)
    ids = {token: i for i, token in enumerate(tokens)}

    def log_likelihood(state):
        n = np.array([count for count in state.tokens if count], dtype=float)
        return (n * np.log(n / n.sum())).sum()

    pairs, n, a, b, total = Corpus(words, ids).counts()
    gains = likelihood_gain(n, a, b, total)
    for pair, gain in zip(pairs.tolist(), gains, strict=True):
        state = Corpus(words, ids)
        before = log_likelihood(state)
        state.merge(tuple(pair), len(tokens))
        assert pair[0] != pair[1] and gain == pytest.approx(log_likelihood(state) - before)
    assert not np.allclose(gains, ratio(n, a, b, total))


def test_criteria_choose_different_pairs_and_min_count_is_kept():
    words = Counter(split_bert(FRENCH))
    first = {
        c: train_wordpiece(words, 250, criterion=c) for c in (frequency, ratio, likelihood_gain)
    }
    assert len({tuple(tokens) for tokens in first.values()}) == 3
    stopped = train_wordpiece({"ab": 5, "cd": 1}, 100, criterion=ratio, min_count=2)
    assert "ab" in stopped and "cd" not in stopped


def test_wordpiece_errors_help():
    with pytest.raises(ValueError, match="corpus vide"):
        train_wordpiece({}, 100)
    with pytest.raises(ValueError, match="au moins 5"):
        train_wordpiece({"aba": 1}, 4)
    with pytest.raises(ValueError, match="unk"):
        WordPiece(["a"])
    with pytest.raises(ValueError, match="deux fois"):
        WordPiece(["[UNK]", "a", "a"])


# Unigram : encoder


@pytest.fixture(scope="module")
def pieces():
    words = Counter(split_metaspace(FRENCH + PYTHON))
    return learning.train_unigram(words, 900)


def library_model(pieces, **options):
    library = Tokenizer(models.Unigram(pieces, unk_id=0, **options))
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    return library


@pytest.mark.parametrize("byte_fallback", [False, True])
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_unigram_encoding_equals_tokenizers_on_anything(pieces, byte_fallback, text):
    pieces = pieces + [(piece, -20.0) for piece in byte_pieces()]
    mine = Unigram(pieces, byte_fallback=byte_fallback)
    text = text.encode("utf-8", "ignore").decode()
    assert mine.encode(text) == library_model(pieces, byte_fallback=byte_fallback).encode(text).ids


@pytest.mark.parametrize(
    "text", [*TEXTS, FRENCH[:3000], PYTHON[:3000], corpus.sample("anglais")[:3000]]
)
def test_unigram_encoding_equals_tokenizers(pieces, text):
    assert Unigram(pieces).encode(text) == library_model(pieces).encode(text).ids
    words = [word for word, _ in pre_tokenizers.Metaspace().pre_tokenize_str(text)]
    assert split_metaspace(text) == words


def test_byte_fallback_loses_nothing(pieces):
    model = Unigram(pieces + [(piece, -20.0) for piece in byte_pieces()], byte_fallback=True)
    for text in TEXTS[:3]:
        assert model.decode(model.encode(text)) == text
    assert "🦀" not in Unigram(pieces).decode(Unigram(pieces).encode("🦀"))


# Unigram : le modèle de probabilité


def segmentations(word):
    for cuts in itertools.product((0, 1), repeat=len(word) - 1):
        ends = [i for i, cut in enumerate(cuts, 1) if cut] + [len(word)]
        yield tuple(word[a:b] for a, b in zip([0, *ends], ends, strict=False))


def exact(model, word, alpha=1.0):
    """{découpe: score} par énumération de toutes les découpes possibles."""
    known = (cut for cut in segmentations(word) if all(piece in model.ids for piece in cut))
    return {cut: alpha * sum(model.scores[model.ids[piece]] for piece in cut) for cut in known}


def test_viterbi_and_forward_equal_enumeration(pieces):
    model = Unigram(pieces)
    for word in ("▁tokenisation", "▁entraînement", "▁self.assert"):
        scores = exact(model, word)
        path, value = model.viterbi(word)
        assert value == pytest.approx(max(scores.values()))
        assert scores[tuple(piece for piece, _ in path)] == pytest.approx(value)
        assert model.log_probability(word) == pytest.approx(
            np.logaddexp.reduce(list(scores.values()))
        )


def test_batched_lattice_equals_one_word_at_a_time(pieces):
    words = dict(Counter(split_metaspace(FRENCH[:5000] + "🦀🦀")))
    model, scores = Unigram(pieces), np.array([score for _, score in pieces])
    scores[0] = model.unk_score = scores[1:].min() - 10
    for lattice in learning.lattices(words, pieces):
        paths, values = lattice.best(scores)
        order = [w for w in sorted(words, key=len) if len(w) in set(lattice.lengths)]
        alpha = lattice.forward(scores)[np.arange(len(order)), lattice.lengths]
        for word, path, value, z in zip(order, paths, values, alpha, strict=True):
            assert [i for _, i in model.viterbi(word)[0]] == path
            assert model.viterbi(word)[1] == pytest.approx(value)
            assert model.log_probability(word) == pytest.approx(z)


def test_expected_counts_equal_enumeration():
    pieces = [
        ("<unk>", np.nan),
        *((p, -2.0 - 0.3 * i) for i, p in enumerate("a b ab ba aba".split())),
    ]
    model, words = Unigram([("<unk>", 0.0), *pieces[1:]]), {"abab": 3, "babaab": 2, "a": 1}
    expected, log_likelihood = learning.expect(words, pieces)
    by_hand, total = Counter(), 0.0
    for word, n in words.items():
        scores = exact(model, word)
        z = np.logaddexp.reduce(list(scores.values()))
        total += n * z
        for cut, score in scores.items():
            for piece in cut:
                by_hand[piece] += n * np.exp(score - z)
    assert log_likelihood == pytest.approx(total)
    np.testing.assert_allclose(expected[1:], [by_hand[piece] for piece, _ in pieces[1:]])


def test_em_never_lowers_the_likelihood():
    words = Counter(split_metaspace(FRENCH[:15_000]))
    pieces = [("<unk>", np.nan), *learning.seed_pieces(words)]
    history = []
    for _ in range(6):
        expected, log_likelihood = learning.expect(words, pieces)
        history.append(log_likelihood)
        pieces = learning.maximize(pieces, expected, sparse=False)
        assert np.exp([score for _, score in pieces[1:]]).sum() == pytest.approx(1)
    assert np.diff(history).min() >= 0 and history[-1] > history[0] + 1000


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_samples_follow_the_exact_law(alpha):
    pieces = [("<unk>", 0.0), ("a", -2.0), ("b", -2.2), ("ab", -3.0), ("ba", -3.4), ("aba", -3.9)]
    model, rng, n = Unigram(pieces), np.random.default_rng(0), 3000
    scores = exact(model, "ababa", alpha)
    z = np.logaddexp.reduce(list(scores.values()))
    drawn = Counter(tuple(model.sample("ababa", rng, alpha)) for _ in range(n))
    assert set(drawn) <= set(scores)
    for cut, score in scores.items():
        p = np.exp(score - z)
        assert abs(drawn[cut] / n - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1 / n


def test_digamma_equals_scipy():
    special = pytest.importorskip("scipy.special")
    x = np.array([1e-3, 0.5, 1, 2.5, 6.99, 7, 50, 1e6])
    np.testing.assert_allclose(learning.digamma(x), special.digamma(x), rtol=1e-7)


# Unigram : apprendre


@pytest.mark.parametrize("name, size", [("francais", 1000), ("python", 800), ("anglais", 1500)])
def test_unigram_training_equals_tokenizers(name, size):
    """Même vocabulaire, mêmes scores ; la bibliothèque range au hasard les caractères inemployés."""
    text = corpus.sample(name)[:40_000]
    library = Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    options = dict(special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    library.train_from_iterator([text], trainers.UnigramTrainer(vocab_size=size, **options))
    theirs = dict(json.loads(library.to_str())["model"]["vocab"])
    mine = dict(learning.train_unigram(Counter(split_metaspace(text)), size))
    assert set(mine) == set(theirs) and len(mine) == size
    moved = [piece for piece in mine if abs(mine[piece] - theirs[piece]) > 1e-6]
    assert all(len(piece) == 1 for piece in moved)
    for scores in (mine, theirs):
        assert max((scores[piece] for piece in moved), default=0) - min(scores.values()) < 0.02
    np.testing.assert_allclose(sorted(mine.values()), sorted(theirs.values()), atol=1e-6)


def test_seeds_ignore_counts_unless_weighted():
    """Un mot fréquent mais isolé n’est pas une graine ; il l’est si l’on compte ses occurrences."""
    words = {"▁hier": 400, "▁le": 3, "▁les": 1}
    plain, weighted = (dict(learning.seed_pieces(words, weighted=w)) for w in (False, True))
    assert "▁hier" not in plain and "▁le" in plain
    assert "▁hier" in weighted and weighted["▁hier"] > weighted["▁le"]
    for seeds in (plain, weighted):
        assert np.exp(list(seeds.values())).sum() == pytest.approx(1)
        assert set("▁hierls") <= set(seeds)


def test_prune_keeps_characters_and_the_size():
    words = Counter(split_metaspace(FRENCH[:15_000]))
    pieces = [("<unk>", np.nan), *learning.seed_pieces(words)]
    pieces = learning.maximize(pieces, learning.expect(words, pieces)[0])
    kept = learning.prune(words, pieces, 800)
    assert len(kept) == 800 and set(kept) <= set(pieces)
    assert {p for p, _ in pieces if len(p) == 1} <= {p for p, _ in kept}


def test_unigram_errors_help():
    with pytest.raises(ValueError, match="corpus vide"):
        learning.train_unigram({}, 100)
    with pytest.raises(ValueError, match="au moins 4"):
        learning.train_unigram({"abc": 1}, 3)
    with pytest.raises(ValueError, match="unk=5"):
        Unigram([("<unk>", 0.0)], unk=5)
    with pytest.raises(ValueError, match="deux fois"):
        Unigram([("<unk>", 0.0), ("a", -1.0), ("a", -2.0)])
