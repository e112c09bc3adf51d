"""Les textes retenus : figés, choisis par empreinte, absents de ce qui s’apprend."""

import pytest

from llmbook import corpus
from tools.corpus_held_out import RECORD, hold_out, hold_out_pages, joined
from tools.corpus_samples import PYTHON_MODULES


@pytest.mark.parametrize("name", corpus.HELD_OUT)
def test_held_out_documents_are_whole(name):
    documents = corpus.held_out(name)
    assert len(documents) >= 2 and all(text.strip() for _, text in documents)
    assert joined(documents) == corpus.sample(name)


def test_held_out_obeys_its_rule():
    names = [name for name, _ in corpus.held_out()]
    assert hold_out([*names, *PYTHON_MODULES], spared=PYTHON_MODULES)[0] == names
    pages = [name for name, _ in corpus.held_out("retenu_francais")]
    assert hold_out_pages(pages)[0] == pages


def test_held_out_is_not_in_the_samples_one_learns_from():
    learned = corpus.sample("bibliotheque")
    assert not [name for name, text in corpus.held_out() if len(text) > 200 and text in learned]


def test_the_side_of_a_file_does_not_depend_on_the_others():
    some = hold_out(["a.py", "b.py", "c/d.py"])
    more = hold_out(["a.py", "b.py", "c/d.py", *(f"e{i}.py" for i in range(200))])
    assert [name for name in more[0] if name in ("a.py", "b.py", "c/d.py")] == some[0]
    assert more[0] and more[1]


def test_unknown_name():
    with pytest.raises(ValueError, match="retenu_francais"):
        corpus.held_out("python")


def test_joined_refuses_its_own_separator():
    with pytest.raises(ValueError, match="séparateur"):
        joined([("a.py", f"x{RECORD}y")])
