"""llmbook.tokenizer : égal à tokenizers, transformers et tiktoken ; aller-retour sur tout."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook import corpus, tokenizer_json
from llmbook.tokenizer import PATTERN, SPECIALS, Tokenizer, train_bpe, train_bpe_naive
from llmbook.tokenizer_bpe import CHUNK, compile_pattern, count_words, merge_pair, split_words
from llmbook.tokenizer_merge import merge_long_word, merge_word

tokenizers = pytest.importorskip("tokenizers")

TEXT = corpus.sample("bibliotheque")[:400_000] + corpus.sample("francais")[:60_000]
OTHER = (
    corpus.sample("python")[-60_000:] + corpus.sample("francais")[-20_000:] + "héhé 你好 🦜\r\n\t"
)
BOOK = train_bpe([TEXT], 1500)

# Peu de lettres, donc beaucoup d’égalités de comptes et de chevauchements (« aaa »).
TIES = st.lists(st.text("ab c\né", min_size=1, max_size=40), min_size=1, max_size=5)
# La découpe dépend de la version d’Unicode : nous comparons sur les caractères qu’elles ont en commun.
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60)


def hf_trained(texts, vocab_size, specials=SPECIALS):
    """La bibliothèque, réglée comme nous."""
    pre = tokenizers.pre_tokenizers
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = pre.Sequence(
        [
            pre.Split(tokenizers.Regex(PATTERN), behavior="isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return model


def merges_and_vocab(model):
    """Fusions (paires de numéros) et numéros d’un tokeniseur de la bibliothèque."""
    found = json.loads(model.to_str())["model"]
    vocab = found["vocab"]
    return [(vocab[left], vocab[right]) for left, right in found["merges"]], vocab


def our_vocab(tokenizer):
    marks = {i: mark for mark, i in tokenizer.specials.items()}
    return {marks.get(i) or tokenizer_json.visible(t): i for i, t in enumerate(tokenizer.tokens)}


# Apprentissage


def test_merge_pair_by_hand():
    assert merge_pair([1, 1, 1], (1, 1), 2) == [2, 1]
    assert merge_pair([3, 1, 2, 1, 2], (1, 2), 4) == [3, 4, 4]
    assert merge_pair([], (1, 2), 4) == []


@settings(max_examples=60, deadline=None)
@given(TIES, st.integers(0, 40))
def test_naive_fast_and_library_learn_the_same_merges(texts, extra):
    vocab_size = 256 + len(SPECIALS) + extra
    naive, fast = train_bpe_naive(texts, vocab_size), train_bpe(texts, vocab_size)
    merges, vocab = merges_and_vocab(hf_trained(texts, vocab_size))
    assert naive.merges == fast.merges == merges
    assert naive.tokens == fast.tokens and our_vocab(fast) == vocab
    assert len(set(fast.tokens)) == fast.vocab_size  # une suite d’octets ne naît pas deux fois


def test_real_text_gives_the_merges_and_encodings_of_the_library():
    model = hf_trained([TEXT], BOOK.vocab_size)
    merges, vocab = merges_and_vocab(model)
    assert BOOK.vocab_size == 1500 and BOOK.merges == merges and our_vocab(BOOK) == vocab
    assert BOOK.encode(OTHER) == model.encode(OTHER).ids


def test_naive_equals_fast_on_real_text():
    text = TEXT[:6_000]
    assert train_bpe_naive([text], 400).merges == train_bpe([text], 400).merges


def test_training_reads_any_iterable_once():
    texts = TEXT[:20_000].split("\n\n")
    expected = train_bpe(texts, 500).merges
    assert train_bpe((text for text in texts), 500).merges == expected
    assert train_bpe(count_words(texts), 500).merges == expected
    assert train_bpe(TEXT[:20_000], 500).merges == train_bpe([TEXT[:20_000]], 500).merges


def test_training_stops_when_nothing_is_left_to_merge():
    tokenizer = train_bpe(["abab"], 1000)
    assert tokenizer.tokens[260:] == [b"ab", b"abab"]
    assert tokenizer.tokens == train_bpe_naive(["abab"], 1000).tokens


# Découpe


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("a1_ \t\n\r\x0b\x1c\x85é", max_size=30))
def test_words_are_those_of_the_pattern(text):
    """Le chemin ASCII est le même que l’autre, et rien ne se perd entre deux mots."""
    words = [word for words in split_words(text) for word in words]
    assert words == compile_pattern(PATTERN).findall(text)
    assert "".join(words) == text


def test_cutting_a_long_text_changes_no_word():
    assert len(TEXT) > 10 * CHUNK and len(list(split_words(TEXT))) > 10
    words = [word for words in split_words(TEXT) for word in words]
    assert words == compile_pattern(PATTERN).findall(TEXT)


# Encodage


@settings(deadline=None)
@given(st.text())
def test_any_text_round_trips(text):
    assert BOOK.decode(BOOK.encode(text)) == text
    assert BOOK.encode_array(text).tolist() == BOOK.encode(text)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_round_trip(data):
    ids = BOOK.encode_bytes(data)
    assert BOOK.decode_bytes(ids) == data
    assert BOOK.decode(ids) == data.decode("utf-8", "replace")


@settings(deadline=None)
@given(st.text().map(lambda text: text.encode()))
def test_bytes_of_a_text_encode_like_the_text(data):
    assert BOOK.encode_bytes(data) == BOOK.encode(data.decode())


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "in", " ", *SPECIALS, "<|", "|>", "fin"])).map("".join))
def test_text_never_produces_a_special(text):
    ids = BOOK.encode(text)
    assert not set(ids) & set(BOOK.specials.values())
    assert BOOK.decode(ids) == text


def test_specials_when_asked():
    text = "<|im_start|>x = 1<|im_end|><|fin|><|pad|>"
    ids = BOOK.encode(text, specials=True)
    assert ids == [2, *BOOK.encode("x = 1"), 3, 0, 1] and BOOK.fin == 0
    assert BOOK.decode(ids) == text


def test_the_longest_special_wins():
    tokenizer = train_bpe(["abc"], 300, specials=("<a>", "<a>+", "<a>++"))
    assert tokenizer.encode("<a>++<a>", specials=True) == [2, 0]


def test_encode_array_holds_large_ids():
    assert BOOK.encode_array(TEXT).dtype == np.uint16
    array = BOOK.encode_array(TEXT)
    assert BOOK.decode(array) == TEXT
    array[:3] = 0  # à nous : on peut y écrire
    wide = Tokenizer([*BOOK.tokens, *[None] * 70_000, b"<haut>"], BOOK.merges, {"<haut>": 71_500})
    assert wide.encode_array("a").dtype == np.uint32
    assert wide.encode("a<haut>", specials=True) == [*BOOK.encode("a"), 71_500]


@pytest.mark.parametrize(
    "word", ["", "a", "self", "=" * 500, "ab" * 300 + "selfself" * 40, "é" * 99]
)
def test_merging_long_words_gives_the_same(word):
    ids = [BOOK.tokens.index(bytes([byte])) for byte in word.encode()]
    slow = merge_word(list(ids), BOOK._ranks, BOOK._merged)
    assert merge_long_word(list(ids), BOOK._ranks, BOOK._merged) == slow


def test_a_very_long_word_is_not_quadratic():
    """Quadratique, ce mot demanderait des minutes."""
    word = "selfab" * 30_000
    assert BOOK.decode(BOOK.encode(word)) == word


# Fichiers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokeniseur")
    BOOK.save(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder):
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_saved_and_read_back(folder):
    back = Tokenizer.from_pretrained(folder)
    for name in ("tokens", "merges", "specials", "end", "patterns", "nfc", "whole_words"):
        assert getattr(back, name) == getattr(BOOK, name)
    assert back.encode(OTHER) == BOOK.encode(OTHER)


def test_library_reads_our_file(theirs):
    assert theirs.encode(OTHER).ids == BOOK.encode(OTHER)
    assert theirs.decode(BOOK.encode(OTHER)) == OTHER
    assert theirs.get_vocab_size() == BOOK.vocab_size


@settings(max_examples=300, deadline=None)
@given(text=st.lists(ASSIGNED | st.sampled_from([*SPECIALS, "<|", " \n"]), max_size=5).map("".join))
def test_library_encodes_any_text_like_us(text, theirs):
    assert theirs.encode(text).ids == BOOK.encode(text, specials=True)
    theirs.encode_special_tokens = True
    assert theirs.encode(text).ids == BOOK.encode(text)
    theirs.encode_special_tokens = False


def test_auto_tokenizer_reads_our_folder(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    marked = "<|im_start|>" + OTHER + "<|im_end|><|fin|>"
    assert theirs(marked)["input_ids"] == BOOK.encode(marked, specials=True)
    assert theirs.decode(BOOK.encode(OTHER)) == OTHER
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (0, 1, BOOK.vocab_size)
    assert theirs.decode(BOOK.encode(marked, specials=True), skip_special_tokens=True) == OTHER


def test_tiktoken_built_from_our_merges_encodes_like_us():
    tiktoken = pytest.importorskip("tiktoken")
    theirs = tiktoken.Encoding(
        "livre",
        pat_str=PATTERN,
        mergeable_ranks={t: i for i, t in enumerate(BOOK.tokens) if i >= len(SPECIALS)},
        special_tokens=BOOK.specials,
    )
    assert theirs.encode_ordinary(OTHER) == BOOK.encode(OTHER)
    marked = "<|im_start|>é<|fin|>"
    assert theirs.encode(marked, allowed_special="all") == BOOK.encode(marked, specials=True)


# Tokeniseurs venus d’ailleurs : appris ici par la bibliothèque, avec la découpe de chacun.

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
LETTERS = r"\p{L}+"  # ne couvre pas tout le texte : ce qui reste est gardé


def foreign(kind):
    pre = tokenizers.pre_tokenizers

    def splits(*patterns):
        parts = [pre.Split(tokenizers.Regex(pattern), "isolated") for pattern in patterns]
        return pre.Sequence([*parts, pre.ByteLevel(add_prefix_space=False, use_regex=False)])

    model = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=kind == "llama3"))
    model.decoder = tokenizers.decoders.ByteLevel()
    if kind == "gpt2":
        model.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        model.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    elif kind == "qwen2":
        model.normalizer = tokenizers.normalizers.NFC()
        model.pre_tokenizer = splits(QWEN2)
    else:
        model.pre_tokenizer = splits(*{"llama3": [LLAMA3], "two": [r"\p{N}", LETTERS]}[kind])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    model.train_from_iterator([TEXT[:100_000]], trainer)
    model.add_special_tokens(["<|endoftext|>", "<｜début｜>"])  # hors du modèle, comme Llama 3
    return model


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "qwen2", "two"])
def test_foreign_byte_level_tokenizer(kind, tmp_path):
    model = foreign(kind)
    model.save(str(tmp_path / "tokenizer.json"))
    eos = {"eos_token": {"content": "<|endoftext|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(eos), encoding="utf-8")
    ours = Tokenizer.from_pretrained(tmp_path)
    text = OTHER + "<｜début｜>It’s 12345 don't e\u0301te\u0301  \n\n  x<|endoftext|>"
    ids = ours.encode(text, specials=True)
    assert ids == model.encode(text).ids
    assert ours.fin == model.token_to_id("<|endoftext|>")
    normal = unicodedata.normalize("NFC", text) if kind == "qwen2" else text
    assert ours.decode(ids) == normal
    ours.save(tmp_path / "copie")
    copy = tokenizers.Tokenizer.from_file(str(tmp_path / "copie" / "tokenizer.json"))
    assert copy.encode(text).ids == ids


def edited(folder, tmp_path, edit):
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    edit(document)
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


REFUSED = {
    "un modèle Unigram": lambda d: d["model"].update(type="Unigram"),
    "byte_fallback=True": lambda d: d["model"].update(byte_fallback=True),
    "end_of_word_suffix": lambda d: d["model"].update(end_of_word_suffix="</w>"),
    "la normalisation Lowercase": lambda d: d.update(normalizer={"type": "Lowercase"}),
    "sans ByteLevel": lambda d: d.update(pre_tokenizer={"type": "Whitespace"}),
    "une découpe sans": lambda d: d.update(pre_tokenizer=None),
    "add_prefix_space": lambda d: d.update(
        pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}
    ),
    "la découpe": lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"),
    "motif de découpe illisible": lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(
        pattern={"Regex": "("}
    ),
    "déborde": lambda d: d["added_tokens"][0].update(lstrip=True),
    "des blancs": lambda d: d["added_tokens"][0].update(content="  "),
    "octet par octet": lambda d: d["model"]["vocab"].update({"▁le": 1500}),
    "octets n’ont pas de token": lambda d: d["model"]["vocab"].pop("é"),
    "ne produit aucun token": lambda d: d["model"]["merges"].append("z q"),
    "abîmé": lambda d: d.pop("model"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_foreign_files_we_cannot_read_are_refused(message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_pretrained(edited(folder, tmp_path, REFUSED[message]))


def test_missing_or_broken_file(tmp_path):
    with pytest.raises(ValueError, match="n’existe pas"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="abîmé"):
        Tokenizer.from_pretrained(tmp_path)


# Mauvaises entrées


@pytest.mark.parametrize("train", [train_bpe, train_bpe_naive])
def test_training_refuses_bad_input(train):
    with pytest.raises(ValueError, match="corpus vide"):
        train([], 300)
    with pytest.raises(ValueError, match="corpus vide"):
        train(["", ""], 300)
    with pytest.raises(ValueError, match="au moins 260"):
        train(["abc"], 259)
    assert train(["abc"], 260).merges == []
    with pytest.raises(ValueError, match="pas bytes"):
        train([b"abc"], 300)
    with pytest.raises(ValueError, match="demi-caractère"):
        train(["a\ud800"], 300)
    with pytest.raises(ValueError, match="répétées"):
        train(["abc"], 300, specials=("<a>", "<a>"))
    with pytest.raises(ValueError, match="par des fusions"):
        train(["abc abc"], 300, specials=("abc",))


def test_encoding_refuses_what_is_not_text():
    for encode in (BOOK.encode, BOOK.encode_array):
        with pytest.raises(ValueError, match="pas bytes"):
            encode(b"abc")
        with pytest.raises(ValueError, match="demi-caractère"):
            encode("abc \udc80")


@pytest.mark.parametrize("bad", [-1, 1500, 10**9])
def test_decoding_refuses_unknown_ids(bad):
    with pytest.raises(ValueError, match="de 0 à 1499"):
        BOOK.decode([65, bad])


def test_no_end_mark():
    tokenizer = train_bpe(["abab"], 300, specials=())
    assert tokenizer.encode("ab", specials=True) == tokenizer.encode("ab")
    with pytest.raises(ValueError, match="marque de fin"):
        assert tokenizer.fin
