"""llmbook.evaluation, comparé à la boucle naïve, à transformers, à scipy et à xz."""

import ast
import functools
import lzma
import math
import shutil
import subprocess
import warnings

import numpy as np
import pytest
import scipy.stats
import tokenizers
import torch
import torch.nn.functional as F
import transformers

from llmbook import evaluation as ev
from llmbook.kneser_ney import NgramLM
from llmbook.model import LanguageModel, ModelConfig

TEXTS = ["def f(x):\n    return x\n", "é", "Un texte plus long que la fenêtre : l’été 2024. " * 2]


class Bytes:
    """Le tokeniseur minimal : un octet par token, <|fin|> en 0."""

    fin = 0

    def encode(self, text):
        return [1 + byte for byte in text.encode()]


@functools.cache
def model() -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(257, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_ff=48, context=32)
    net = LanguageModel(config)
    with torch.no_grad():  # des logits bien séparés : une erreur de fenêtre se verrait
        for weight in net.parameters():
            weight.mul_(4)
    return net.eval()


def naive(text, context, stride):
    """Un token à la fois, dans sa fenêtre : surprises et rangs."""
    ids, nats, correct = [0, *Bytes().encode(text)], 0.0, 0
    for i in range(1, len(ids)):
        windows = 0 if i <= context else math.ceil((i - context) / stride)
        past = ids[windows * stride : i]
        assert len(past) >= min(i, context - stride)
        with torch.no_grad():
            logits = model()(torch.tensor([past]))[0, -1]
        nats -= float(F.log_softmax(logits, -1)[ids[i]])
        correct += int(logits.argmax()) == ids[i]
    return nats, correct


@pytest.mark.parametrize("context, stride", [(32, 32), (32, 16), (32, 5), (32, 1), (7, 3), (1, 1)])
def test_equals_the_naive_loop(context, stride):
    expected = [naive(text, context, stride) for text in TEXTS]
    for batch_size in (1, 4):
        scores = ev.score(
            model(), Bytes(), TEXTS, context=context, stride=stride, batch_size=batch_size
        )
        assert [s.nats for s in scores] == pytest.approx([n for n, _ in expected], rel=1e-5)
        assert [s.n_correct for s in scores] == [c for _, c in expected]
    sizes = [len(text.encode()) for text in TEXTS]
    assert [s.n_bytes for s in scores] == [s.n_tokens for s in scores] == sizes


def test_the_three_measures():
    options = dict(context=32, stride=8)
    nats, correct = map(sum, zip(*(naive(text, 32, 8) for text in TEXTS), strict=True))
    size = sum(len(text.encode()) for text in TEXTS)
    call = (model(), Bytes(), TEXTS)
    assert ev.bits_per_byte(*call, **options) == pytest.approx(nats / size / math.log(2), rel=1e-5)
    assert ev.perplexity(*call, **options) == pytest.approx(math.exp(nats / size), rel=1e-4)
    assert ev.accuracy(*call, **options) == correct / size


def test_equals_transformers():
    """La recette de la documentation de transformers, sur le même modèle."""
    hf, context, stride, nats = model().to_hf(), 32, 12, 0.0
    text = TEXTS[2]
    ids = torch.tensor([[0, *Bytes().encode(text)]])
    done = 0
    for begin in range(0, ids.shape[1] - 1, stride):
        end = min(begin + context, ids.shape[1] - 1)
        labels = ids[:, begin : end + 1].clone()
        labels[:, : done - begin + 1] = -100
        with torch.no_grad():
            loss = hf(ids[:, begin:end], shift_labels=labels[:, 1:], labels=labels[:, 1:]).loss
        nats += float(loss) * (end - done)
        done = end
        if end == ids.shape[1] - 1:
            break
    options = dict(context=context, stride=stride)
    (ours,) = ev.score(model(), Bytes(), [text], **options)
    (theirs,) = ev.score(hf, Bytes(), [text], **options)
    assert ours.nats == pytest.approx(nats, rel=1e-5)
    assert theirs.nats == pytest.approx(ours.nats, rel=1e-5)


def test_auto_tokenizer():
    """Un tokeniseur d’octets de transformers donne la même mesure, même si le texte cite <|fin|>."""
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    ids = {"<|fin|>": 0} | {letter: 1 + i for i, letter in enumerate(sorted(letters))}
    raw = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=ids, merges=[]))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|fin|>")

    class Ours:
        fin = 0

        def encode(self, text):
            shown = raw.pre_tokenizer.pre_tokenize_str(text)
            return [ids[letter] for piece, _ in shown for letter in piece]

    texts = [*TEXTS, "a <|fin|> b"]
    ours = ev.score(model(), Ours(), texts)
    assert ev.score(model(), theirs, texts) == ours
    assert ours[-1].n_tokens == len(texts[-1])


def test_any_function_that_gives_logits():
    uniform = lambda tokens: torch.zeros(*tokens.shape, 257)  # noqa: E731
    assert ev.perplexity(uniform, Bytes(), TEXTS, context=8) == pytest.approx(257)
    assert ev.bits_per_byte(uniform, Bytes(), TEXTS, context=8) == pytest.approx(math.log2(257))


def test_progress_and_training_mode():
    seen = []
    net = model().train()
    ev.score(net, Bytes(), TEXTS, batch_size=2, on_progress=lambda *at: seen.append(at))
    assert net.training and not net.eval().training
    size = sum(len(text.encode()) for text in TEXTS)
    assert seen == sorted(seen) and seen[-1] == (size, size) and len(seen) > 2


BAD = [
    (dict(texts=[]), "aucun texte"),
    (dict(texts="abc"), "liste de textes"),
    (dict(texts=["abc", ""]), "texte 1 est vide"),
    (dict(context=33), "dépasse le contexte"),
    (dict(context=0), "au moins un token"),
    (dict(context=8, stride=9), "stride=9"),
    (dict(stride=0), "stride=0"),
    (dict(batch_size=0), "batch_size=0"),
]


@pytest.mark.parametrize("changes, message", BAD)
def test_bad_input(changes, message):
    options = dict(texts=["abc"]) | changes
    texts = options.pop("texts")
    with pytest.raises(ValueError, match=message):
        ev.bits_per_byte(model(), Bytes(), texts, **options)


def test_bad_models():
    with pytest.raises(ValueError, match="donnez context"):
        ev.score(lambda t: torch.zeros(*t.shape, 257), Bytes(), ["a"])
    with pytest.raises(ValueError, match="va de 0 à 49"):
        ev.score(lambda t: torch.zeros(*t.shape, 50), Bytes(), ["a"], context=4)
    small = LanguageModel(ModelConfig.sized(1, 50, context=8))
    for net in (small, small.to_hf()):
        with pytest.raises(ValueError, match="va de 0 à 49"):
            ev.score(net, Bytes(), ["a"])
    with pytest.raises(ValueError, match="NaN"):
        ev.score(lambda t: torch.full((*t.shape, 257), math.nan), Bytes(), ["a"], context=4)


# Comparer


def test_compressed_size_is_that_of_xz():
    text = "été " * 50 + TEXTS[2]
    assert ev.compressed_bits_per_byte(text) == 8 * len(
        lzma.compress(text.encode(), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    ) / len(text.encode())
    if shutil.which("xz"):
        command = ["xz", "-9e", "-T1", "--stdout"]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        assert len(lzma.decompress(done.stdout)) == len(text.encode())
        expected = 8 * len(done.stdout) / len(text.encode())
        assert ev.compressed_bits_per_byte(text) == expected


def test_a_prefix_that_contains_the_text_makes_it_nearly_free():
    rng = np.random.default_rng(0)
    text, other = ("".join(map(chr, rng.integers(97, 123, size=2000))) for _ in range(2))
    alone = ev.compressed_bits_per_byte(text)
    assert alone > math.log2(26)  # sous l’entropie, ce serait une erreur
    assert ev.compressed_bits_per_byte(text, prefix=text) < alone / 20
    assert ev.compressed_bits_per_byte(text, prefix=other) > math.log2(26)
    with pytest.raises(ValueError, match="vide"):
        ev.compressed_bits_per_byte("", prefix="abc")


def test_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 500, size=40)
    hard = rng.normal(2, 0.5, size=40)
    a, b = sizes * (hard + rng.normal(0, 0.1, size=40)), sizes * (hard + 0.1)
    ours = ev.paired_bootstrap(a, b, sizes, draws=20_000)

    def statistic(a, b, sizes, axis=-1):
        return (a - b).sum(axis) / sizes.sum(axis)

    theirs = scipy.stats.bootstrap(
        (a, b, sizes), statistic, paired=True, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert ours.value == pytest.approx(statistic(a, b, sizes)) and ours.n == 40
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.04 * width)
    assert ours == ev.paired_bootstrap(a, b, sizes, draws=20_000)
    mirror = ev.paired_bootstrap(b, a, sizes, draws=20_000)
    assert (-mirror.high, -mirror.low) == pytest.approx((ours.low, ours.high))


def test_bootstrap_compares_a_model_with_counts():
    """Les mesures de score et de NgramLM ont la même convention : elles s’apparient."""
    bits, sizes = _ngram().document_bits(TEXTS, Bytes())
    scores = ev.score(model(), Bytes(), TEXTS)
    assert [s.n_bytes for s in scores] == sizes.tolist()
    found = ev.paired_bootstrap([s.bits for s in scores], bits, sizes)
    assert found.low <= found.value <= found.high
    assert found.low > 0  # des poids au hasard ne battent pas des comptes


def _ngram() -> NgramLM:
    train = [token for text in TEXTS for token in [*Bytes().encode(text), 0]]
    return NgramLM(train, order=4, vocab_size=257)


def test_bad_bootstrap():
    for call in [([1.0], [1.0], [1]), ([1, 2], [1, 2, 3], [1, 2]), ([1, 2], [1], [1, 2])]:
        with pytest.raises(ValueError, match="au moins 2 documents"):
            ev.paired_bootstrap(*call)
    with pytest.raises(ValueError, match="positifs"):
        ev.paired_bootstrap([1, 2], [1, 2], [0, 1])


# Lire ce qu’il écrit


@pytest.mark.parametrize("successes, n", [(0, 5), (5, 5), (1, 3), (70, 100), (999, 1000)])
def test_wilson_equals_scipy(successes, n):
    expected = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert ev.wilson(successes, n) == pytest.approx((successes / n, *expected, n))


SAMPLES = {  # échantillon : (passe en entier, passe une fois coupé)
    "x = 1\n": (True, True),
    "x = 1\ny = (2 +": (False, True),
    "x = 1\nretur": (True, True),
    "x = 1\ndef f():\n    '''Début de docstring\n": (False, True),
    "x = 1\ntry:\n    y = 2\n    z = 3\n": (False, True),
    "x = 1\n@decorator\n": (False, True),
    "x = 1\nd = {\n    'a': 1,\n": (False, True),
    "class A:\n    def f(self):\n        return 1\n\n    def g(self": (False, True),
    "x = = 1\ny = 2\n": (False, False),
    "x = 'abc\ny = 2\n": (False, False),
    "x = 1\n  y = 2\n": (False, False),
    "f(\n  a b,\n": (False, False),
    "def f():\n": (False, False),  # il n’en reste rien
    "": (False, False),
    "# rien\n": (False, False),
    "a\0b\n": (False, False),
    "(" * 5000 + ")" * 5000 + "\n": (False, False),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_parse_one(sample):
    rates = ev.parse_rate([sample]).value, ev.complete_parse_rate([sample]).value
    assert rates == SAMPLES[sample]


def test_parse_rate_counts_and_bounds():
    samples = list(SAMPLES)
    whole, complete = ev.parse_rate(samples), ev.complete_parse_rate(samples)
    assert whole == ev.wilson(2, len(samples)) and complete == ev.wilson(8, len(samples))
    failures = ev.parse_failures(samples)
    assert failures.total() == len(samples) - 2
    assert failures["vide"] == 2 and failures["SyntaxError"] > 5
    assert ev.parse_failures(["x = 1\n  y = 2\n"]) == {"IndentationError": 1}
    for bad in ([], "x = 1"):
        with pytest.raises(ValueError, match="liste"):
            ev.parse_rate(bad)


def test_every_cut_of_a_real_file_can_be_completed():
    """Couper du Python valide n’importe où laisse, une fois rogné, du Python valide."""
    source = open(ast.__file__, encoding="utf-8").read()[:20_000]
    cuts = range(1, len(source), 397)
    failed = []
    for cut in cuts:
        kept = ev.complete_statements(source[:cut])
        assert source.startswith(kept)
        try:
            ast.parse(kept)
        except SyntaxError as error:
            failed.append((cut, error))
    assert not failed


def test_a_fault_is_never_cut_away():
    source = open(ast.__file__, encoding="utf-8").read()[:6000]
    lines = source.splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if line.startswith("def ")]
    assert places
    for i in places:
        broken = "".join([*lines[:i], "x = = 1\n", *lines[i:]])
        assert ev.complete_parse_rate([broken]).value == 0


def test_no_warning_even_as_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ev.parse_rate(["x = '\\d'\n", "1 is 2\n"]).value == 1
        assert ev.complete_parse_rate(["x = '\\d'\ny = ("]).value == 1


def test_repetition():
    assert ev.distinct_n([[1, 2, 1, 2], [1, 2]], 2) == 2 / 4  # 12 21 12, 12
    assert ev.distinct_n(["abcd"], 1) == 1
    assert ev.repetition_rate("abababab", 2) == pytest.approx(5 / 7)
    assert ev.repetition_rate(range(50), 4) == 0
    for call in (lambda: ev.distinct_n([], 2), lambda: ev.repetition_rate("abc", 4)):
        with pytest.raises(ValueError, match="plus petit"):
            call()
    with pytest.raises(ValueError, match="n=0"):
        ev.distinct_n(["abc"], 0)


def test_copied_share():
    corpus = ["import os\nimport sys\n\ndef f():\n    return 1\n", "a\nb\nc\n"]
    index = ev.line_index(corpus, n=3)
    assert ev.copied_share(corpus[0], index) == 1
    assert ev.copied_share("    import sys\ndef f():\n\n  return 1\nx = 2\n", index) == 3 / 4
    assert ev.copied_share("def f():\nreturn 1\na\nb\n", index) == 0  # à cheval sur deux textes
    assert ev.copied_share("def f():\nreturn 1\n", index) == 0
    assert ev.copied_share("zzz\n", index) == 0
    for call in (lambda: ev.line_index([]), lambda: ev.line_index(["a\n"]), lambda: _copy("\n")):
        with pytest.raises(ValueError, match="vide"):
            call()


def _copy(sample):
    return ev.copied_share(sample, ev.line_index(["a\nb\n"], n=1))
