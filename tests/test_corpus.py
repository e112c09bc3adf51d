"""llmbook.corpus et tools.corpus_samples : extraits figés, texte vivant, prose, répartition."""

import hashlib
import json
import lzma
import shutil
from pathlib import Path

import pytest

from llmbook import corpus
from tools import corpus_samples

SIZES = {
    "python": (500_000, 700_000),
    "francais": (90_000, 1_000_000),
    "anglais": (200_000, 300_000),
    "bibliotheque": (1_500_000, 3_000_000),
}

PAGE = r"""---
jupytext: {a: b}
---
(cible)=
# Un titre *important*

Soit $\mathbf{x}$ un vecteur, de norme $\lVert x \rVert_2 = 1$, voir {numref}`fig-a`.

$$
a = b
$$ (eq-a)

```{code-cell}
x = 1  # caché
```

:::{panne} Une panne
:label: p

Le texte de **la panne** : `socket`, {term}`tokens <token>`, {cite}`caché`.

````{exercise} caché
```
caché
```
````
:::

Verbe
: Sa définition.

- [ ] Un choix,
  sur deux lignes
- Un [lien](http://cache.fr) <br/> ici. <!-- caché -->
"""


@pytest.mark.parametrize("name", corpus.SAMPLES)
def test_samples_are_whole(name):
    text = corpus.sample(name)
    low, high = SIZES[name]
    assert low <= len(text.encode()) <= high
    assert "\ufffd" not in text and "\r" not in text
    assert len(set(text)) < 200


def test_samples_are_what_they_say():
    assert "def socketpair(" in corpus.sample("python")
    assert "class ThreadPoolExecutor" in corpus.sample("bibliotheque")
    french, english = corpus.sample("francais"), corpus.sample("anglais")
    assert french.count(" les ") > 100 and english.count(" the ") > 1000
    assert ">>>" not in english and "```" not in french and "\\mathbf" not in french


def test_unknown_or_altered_sample(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="extrait inconnu"):
        corpus.sample("latin")
    for file in filter(Path.is_file, corpus.DATA.iterdir()):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(corpus, "DATA", tmp_path)
    corpus.sample("francais")
    (tmp_path / "francais.txt.xz").write_bytes(lzma.compress(b"autre"))
    with pytest.raises(ValueError, match="empreinte"):
        corpus.sample("francais")


def test_sums_and_licences_cover_every_file():
    lines = (corpus.DATA / "SHA256SUMS").read_text().splitlines()
    files = {name: digest for digest, name in (line.split() for line in lines)}
    assert set(files) == {path.name for path in corpus.DATA.glob("*.xz")}
    for name, digest in files.items():
        assert hashlib.sha256((corpus.DATA / name).read_bytes()).hexdigest() == digest
        assert name in (corpus.DATA / "LICENCES.md").read_text(encoding="utf-8")


def test_stdlib():
    files = corpus.stdlib_files()
    names = {path.name for path in files}
    assert {"socket.py", "textwrap.py"} <= names and "test_socket.py" not in names
    assert files == sorted(files) and len(files) > 300
    assert len(corpus.stdlib_text(10_001).encode()) in range(9_998, 10_002)
    assert corpus.stdlib_text(0) == ""
    with pytest.raises(ValueError, match="max_bytes"):
        corpus.stdlib_text(-1)


def test_packages():
    assert corpus.package_files("json")[0].parent.name == "json"
    assert [path.name for path in corpus.package_files("textwrap")] == ["textwrap.py"]
    assert "JSONDecoder" in corpus.package_text("json")
    for name, words in [
        ("absent_de_partout", "introuvable"),
        ("a.b", "introuvable"),
        ("", "introuvable"),
        ("sys", "pas de source"),
    ]:
        with pytest.raises(ValueError, match=words):
            corpus.package_files(name)


def test_docstrings_are_named(tmp_path):
    source = (
        '"""Module."""\nclass A:\n    """Classe."""\n    def f(self):\n        """Méthode."""\n'
    )
    (tmp_path / "m.py").write_text(source, encoding="utf-8")
    (tmp_path / "faux.py").write_text("def (:")
    found = corpus.docstrings(sorted(tmp_path.glob("*.py")))
    assert found == [("m", "Module."), ("m.A", "Classe."), ("m.A.f", "Méthode.")]
    assert "textwrap.TextWrapper" in dict(corpus.docstrings(corpus.package_files("textwrap")))


def test_prose_keeps_what_a_reader_reads():
    assert corpus.prose(PAGE).splitlines() == [
        "Un titre important",
        "Soit x un vecteur, de norme, voir.",
        "Le texte de la panne : socket, tokens,.",
        "Verbe",
        "Sa définition.",
        "Un choix, sur deux lignes",
        "Un lien ici.",
    ]
    assert corpus.prose("") == ""


def test_book_text(tmp_path):
    (tmp_path / "b.md").write_text("# Deux", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.md").write_text("Un.", encoding="utf-8")
    (tmp_path / "_caché.md").write_text("Zéro.", encoding="utf-8")
    assert corpus.book_text(tmp_path) == "Un.\n\nDeux"
    assert "Comment lire ce livre" in corpus.book_text()
    with pytest.raises(ValueError, match="aucune page"):
        corpus.book_text(tmp_path / "vide")


def test_split_is_stable_and_proportional():
    items = [f"document {i}" for i in range(5000)]
    train, valid, test = corpus.split(items, (0.8, 0.1, 0.1))
    assert sorted(train + valid + test) == sorted(items)
    assert abs(len(train) - 4000) < 120 and abs(len(test) - 500) < 90
    assert train == [item for item in items if item in set(train)]  # ordre conservé
    again = corpus.split(items[::2] + ["nouveau"], (0.8, 0.1, 0.1))
    assert set(again[2]) - {"nouveau"} == set(test) & set(items[::2])
    pairs = corpus.split([("a", 1), ("a", 2)] * 9, (0.5, 0.5), key=lambda item: item[0])
    assert sorted(map(len, pairs)) == [0, 18]  # jamais séparés
    assert corpus.split([], (1.0,)) == ([],)
    for bad in [(), (0.5, 0.6), (-0.5, 1.5)]:
        with pytest.raises(ValueError, match="somme 1"):
            corpus.split(items, bad)


def test_split_does_not_change_between_versions():
    digest = hashlib.sha256(json.dumps(corpus.split([*"abcdefghij"], (0.5, 0.5))).encode())
    assert digest.hexdigest()[:12] == "e07de773d657"


def test_deduplicate_keeps_the_first():
    assert corpus.deduplicate(["Un  mot", "deux", "un mot", "DEUX", ""]) == ["Un  mot", "deux", ""]


def test_english_paragraphs_drop_code():
    text = """Return the sum of two numbers, whatever they are.

    >>> f(1, 2)
    3

Arguments:

    x: a number that is long enough to look like a sentence.

Short.

This second paragraph spans two lines
and is kept as a single one."""
    assert corpus_samples.english_paragraphs(text) == [
        "Return the sum of two numbers, whatever they are.",
        "This second paragraph spans two lines and is kept as a single one.",
    ]


@pytest.fixture
def small_root(tmp_path, monkeypatch):
    """Un dépôt à geler en une fraction de seconde."""
    monkeypatch.setattr(corpus_samples, "stdlib_files", lambda: corpus.package_files("textwrap"))
    monkeypatch.setattr(corpus_samples, "LIBRARY_BYTES", 60_000)
    monkeypatch.setattr(corpus_samples, "python_text", lambda max_bytes=50_000: "x" * max_bytes)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.md").write_text("Voici la prose du livre.", encoding="utf-8")
    return tmp_path


def frozen(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "llmbook" / "data").iterdir()}


def test_freezing_is_deterministic_and_readable(small_root, monkeypatch):
    sizes = corpus_samples.freeze_samples(small_root)
    assert set(sizes) == set(corpus.SAMPLES + corpus.HELD_OUT)
    first = frozen(small_root)
    corpus_samples.freeze_samples(small_root)
    assert frozen(small_root) == first
    monkeypatch.setattr(corpus, "DATA", small_root / "llmbook" / "data")
    for name, size in sizes.items():
        assert len(corpus.sample(name).encode()) == size


def test_freezing_one_sample_leaves_the_others(small_root, monkeypatch):
    corpus_samples.freeze_samples(small_root)
    (small_root / "book" / "index.md").write_text("Une autre prose.", encoding="utf-8")
    before = frozen(small_root)
    after = frozen_after(small_root, ["francais"])
    assert {name for name in before if before[name] != after[name]} == {
        "francais.txt.xz",
        "SHA256SUMS",
    }
    monkeypatch.setattr(corpus, "DATA", small_root / "llmbook" / "data")
    assert corpus.sample("francais") == "Une autre prose."


def frozen_after(root: Path, names: list[str]) -> dict[str, bytes]:
    assert set(corpus_samples.freeze_samples(root, names)) == set(names)
    return frozen(root)
