"""Lire et écrire tokenizer.json, le format de la bibliothèque `tokenizers`.

Le fichier est du texte : chaque octet y est représenté par un caractère visible (« Ġ » pour
l’espace), d’après Radford et al., 2019. Nous lisons les BPE d’octets de toute origine dont la
découpe est une suite de motifs ; le reste est refusé plutôt que mal lu.
"""

import json
from pathlib import Path

from llmbook.tokenizer_bpe import BYTE_ORDER, PRINTABLE

BYTE_CHARS = {
    byte: chr(byte) if rank < len(PRINTABLE) else chr(256 + rank - len(PRINTABLE))
    for rank, byte in enumerate(BYTE_ORDER)
}
CHAR_BYTES = {char: byte for byte, char in BYTE_CHARS.items()}

# Le motif de GPT-2, celui de ByteLevel quand il découpe lui-même.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def visible(token: bytes) -> str:
    """visible(b" a") → "Ġa"."""
    return "".join(BYTE_CHARS[byte] for byte in token)


def write(tokenizer, folder: Path) -> None:
    """Écrit tokenizer.json et tokenizer_config.json."""
    specials = {i: mark for mark, i in tokenizer.specials.items()}
    added = [
        dict(id=i, content=mark, special=True)
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for i, mark in sorted(specials.items())
    ]
    vocab = {
        specials.get(i) or visible(token): i
        for i, token in enumerate(tokenizer.tokens)
        if token is not None
    }
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    splits = [
        dict(type="Split", pattern={"Regex": pattern}, behavior="Isolated", invert=False)
        for pattern in tokenizer.patterns
    ]
    pairs = ((tokenizer.tokens[a], tokenizer.tokens[b]) for a, b in tokenizer.merges)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if tokenizer.nfc else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": tokenizer.whole_words,
            "vocab": vocab,
            "merges": [f"{visible(left)} {visible(right)}" for left, right in pairs],
        },
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if tokenizer.end in tokenizer.specials:
        config["eos_token"] = tokenizer.end
    if "<|pad|>" in tokenizer.specials:
        config["pad_token"] = "<|pad|>"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", document), ("tokenizer_config.json", config)):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> dict:
    """Les arguments de `Tokenizer`, lus dans un dossier. ValueError si le fichier n’est pas pour nous."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{path} n’existe pas : donnez le dossier qui contient tokenizer.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _parse(document) | {"end": _end_mark(folder)}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} est abîmé, ou n’est pas un tokenizer.json : {error!r}") from error


def _parse(document: dict) -> dict:
    model = document["model"]
    if model.get("type", "BPE") != "BPE":
        raise _refused(f"un modèle {model['type']}", "seul BPE est lu ici")
    for option in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise _refused(f"{option}={model[option]!r}", "seul le BPE d’octets est lu ici")
    normalizer = document.get("normalizer")
    if normalizer not in (None, {"type": "NFC"}):
        raise _refused(f"la normalisation {normalizer['type']}", "seule NFC est connue")

    specials = {}
    for added in document.get("added_tokens") or []:
        if added.get("lstrip") or added.get("rstrip") or added.get("single_word"):
            raise _refused(f"la marque {added['content']!r} qui déborde sur le texte voisin")
        if not added["content"].strip():
            raise _refused("des blancs pour marques", "elles changeraient tout texte indenté")
        specials[added["content"]] = added["id"]
    ids = model["vocab"] | specials
    tokens: list[bytes | None] = [None] * (max(ids.values()) + 1)
    for text, i in ids.items():
        tokens[i] = text.encode() if text in specials else _from_visible(text)
    pairs = (tuple(pair.split(" ")) if isinstance(pair, str) else pair for pair in model["merges"])
    return dict(
        tokens=tokens,
        merges=[(ids[left], ids[right]) for left, right in pairs],
        specials=specials,
        patterns=_patterns(document.get("pre_tokenizer")),
        nfc=normalizer is not None,
        whole_words=bool(model.get("ignore_merges")),
    )


def _patterns(pre_tokenizer: dict | None) -> list[str]:
    """Les motifs de découpe ; le dernier maillon doit être ByteLevel."""
    steps = [pre_tokenizer] if pre_tokenizer else []
    if steps and pre_tokenizer["type"] == "Sequence":
        steps = pre_tokenizer["pretokenizers"]
    if not steps or steps[-1]["type"] != "ByteLevel":
        raise _refused("une découpe sans ByteLevel", "seul le BPE d’octets est lu ici")
    if steps[-1].get("add_prefix_space", True):
        raise _refused("add_prefix_space=True", "le texte décodé ne serait plus celui encodé")
    patterns = []
    for step in steps[:-1]:
        simple = step["type"] == "Split" and step["behavior"] == "Isolated"
        if not simple or step.get("invert") or "Regex" not in step["pattern"]:
            raise _refused(f"la découpe {step}", "seuls les motifs Split isolés sont lus")
        patterns.append(step["pattern"]["Regex"])
    if steps[-1].get("use_regex", True):
        patterns.append(GPT2)
    return patterns


def _end_mark(folder: Path) -> str | None:
    """La marque de fin, lue dans tokenizer_config.json s’il existe."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return None
    mark = json.loads(path.read_text(encoding="utf-8")).get("eos_token")
    return mark["content"] if isinstance(mark, dict) else mark


def _from_visible(text: str) -> bytes:
    try:
        return bytes(CHAR_BYTES[char] for char in text)
    except KeyError:
        raise _refused(f"le token {text!r}", "il n’est pas écrit octet par octet") from None


def _refused(what: str, remedy: str = "choisissez un autre tokeniseur") -> ValueError:
    return ValueError(f"tokenizer.json demande {what}, que llmbook ne sait pas faire : {remedy}")
