"""Chapitre 5 : un tokeniseur en Python pur contre ceux écrits en Rust."""

import itertools
import json
import os
import tempfile
from functools import cache

from llmbook import corpus
from llmbook.tokenizer import PATTERN, SPECIALS, Tokenizer, train_bpe, train_bpe_naive
from tools.bench import Contest, bench

VOCABULARY = 4096


@cache
def python_files(max_bytes):
    """Fichiers de la bibliothèque standard, puis de numpy, jusqu’à `max_bytes` octets."""
    texts, size = [], 0
    for path in itertools.chain(corpus.stdlib_files(), corpus.package_files("numpy")):
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1].encode())
        if size >= max_bytes:
            return texts
    raise ValueError(f"moins de {max_bytes} octets de Python sur cette machine")


@cache
def book_tokenizer():
    return train_bpe([corpus.sample("bibliotheque")], VOCABULARY)


def library():
    """La bibliothèque `tokenizers`, avec le même nombre de fils que le reste du banc."""
    os.environ.setdefault("RAYON_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    import tokenizers

    return tokenizers


@bench("BPE, apprendre 400 tokens sur 20 ko", "naïf, tout relire", "incrémental")
def learning_naive():
    text = corpus.sample("bibliotheque")[:20_000]
    return Contest(
        lambda: train_bpe_naive([text], 400).merges,
        lambda: train_bpe([text], 400).merges,
        lambda slow, fast: slow == fast,
    )


@bench("BPE, apprendre 4 096 tokens sur 13 Mo", "tokenizers, Rust", "llmbook, Python")
def learning():
    texts = python_files(13_000_000)
    tokenizers = library()
    pre = tokenizers.pre_tokenizers

    def by_library():
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        split = pre.Split(tokenizers.Regex(PATTERN), behavior="isolated")
        bytes_only = pre.ByteLevel(add_prefix_space=False, use_regex=False)
        model.pre_tokenizer = pre.Sequence([split, bytes_only])
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer)
        return model

    def same(model, merges):
        found = json.loads(model.to_str())["model"]
        vocab = found["vocab"]
        return merges == [(vocab[left], vocab[right]) for left, right in found["merges"]]

    return Contest(by_library, lambda: train_bpe(texts, VOCABULARY).merges, same)


@bench("BPE, encoder 4 Mo de Python", "tokenizers, Rust", "llmbook, Python")
def encoding_tokenizers():
    texts, ours = python_files(4_000_000), book_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        ours.save(folder)
        theirs = library().Tokenizer.from_file(f"{folder}/tokenizer.json")
    theirs.encode_special_tokens = True
    return Contest(
        lambda: [encoding.ids for encoding in theirs.encode_batch_fast(texts)],
        lambda: [ours.encode(text) for text in texts],
        lambda slow, fast: slow == fast,
    )


@bench("BPE, encoder 4 Mo de Python", "tiktoken, Rust", "llmbook, Python")
def encoding_tiktoken():
    import tiktoken

    texts, ours = python_files(4_000_000), book_tokenizer()
    theirs = tiktoken.Encoding(
        "livre",
        pat_str=PATTERN,
        mergeable_ranks={
            token: i for i, token in enumerate(ours.tokens) if i not in ours.specials.values()
        },
        special_tokens=ours.specials,
    )
    return Contest(
        lambda: [theirs.encode_ordinary(text) for text in texts],
        lambda: [ours.encode(text) for text in texts],
        lambda slow, fast: slow == fast,
    )


@bench("BPE, encoder 4 Mo de Python, mots en cache", "llmbook, cache vide", "llmbook, cache plein")
def encoding_cache():
    texts, warm = python_files(4_000_000), book_tokenizer()

    def cold():
        fresh = Tokenizer(warm.tokens, warm.merges, warm.specials, end=warm.end)
        return [fresh.encode(text) for text in texts]

    return Contest(
        cold, lambda: [warm.encode(text) for text in texts], lambda slow, fast: slow == fast
    )
