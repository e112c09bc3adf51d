"""llmbook.batches_sft : ce qui s’apprend, chaque exemple une fois par époque, entier dans un paquet."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.batches_sft import Example, SupervisedBatches, collate, encode_examples, pack_examples
from llmbook.losses import IGNORE
from llmbook.tokenizer import Tokenizer

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
TOKENIZER = Tokenizer.from_pretrained(NANO)


def example(number, size, asked=2):
    """Des tokens qui disent d’où ils viennent : 100 × numéro + rang ; les `asked` premiers sont lus."""
    return Example(100 * number + np.arange(size), np.arange(size) >= asked)


EXAMPLES = [example(n, 4 + n % 9) for n in range(1, 24)]


def dialogue(answer="Oui.", question="Est-ce vrai ?"):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_encode_examples_learns_the_answer():
    plain, record = encode_examples(
        TOKENIZER, [dialogue(), {"id": "a-1", "messages": dialogue("Non.")}], 64
    )
    assert TOKENIZER.decode(plain.targets[plain.targets != IGNORE]) == "Oui.<|im_end|>"
    assert TOKENIZER.decode(record.targets[record.targets != IGNORE]) == "Non.<|im_end|>"
    assert len(plain.targets) == len(plain) - 1
    assert plain.ids.dtype == np.int64 and plain.mask.dtype == bool


def test_too_long():
    short, long = dialogue(), {"id": "long-7", "messages": dialogue("Oui, " * 60)}
    with pytest.raises(ValueError, match="exemple long-7 : .* tokens dépassent context=64"):
        encode_examples(TOKENIZER, [short, long], 64)
    assert len(encode_examples(TOKENIZER, [short, long, short], 64, "skip")) == 2
    cut = encode_examples(TOKENIZER, [long], 64, "truncate")[0]
    whole = encode_examples(TOKENIZER, [long], 1024)[0]
    assert len(cut) == 64 and (cut.ids == whole.ids[:64]).all()
    with pytest.raises(ValueError, match="aucun exemple : les 1 dialogues dépassent"):
        encode_examples(TOKENIZER, [long], 64, "skip")
    with pytest.raises(ValueError, match="exemple 0 : aucun token à apprendre"):
        encode_examples(TOKENIZER, [dialogue(question="Est-ce vrai ? " * 60)], 64, "truncate")


@pytest.mark.parametrize(
    ("dialogues", "match"),
    [
        ([], "jeu de données vide"),
        ([dialogue(), dialogue()[:1]], "exemple 1 : aucun token à apprendre"),
        ([{"id": "x", "messages": []}], "exemple x : dialogue vide"),
        ([{"id": "x", "texte": "a"}], "exemple x : un enregistrement a ses messages"),
    ],
)
def test_bad_dialogues(dialogues, match):
    with pytest.raises(ValueError, match=match):
        encode_examples(TOKENIZER, dialogues, 64)


@pytest.mark.parametrize(
    ("ids", "mask", "match"),
    [
        ([1, 2], [True], "même longueur"),
        ([1], [True], "au moins 2"),
        ([1, 2, 3], [True, False, False], "aucun token à apprendre"),  # rien ne précède le premier
        ([1.0, 2.0], [True, True], "entiers et positifs"),
        ([1, -2], [True, True], "entiers et positifs"),
    ],
)
def test_bad_example(ids, mask, match):
    with pytest.raises(ValueError, match=match):
        Example(ids, mask)


def test_collate():
    inputs, targets = collate([example(1, 5), example(2, 3)], pad=9)
    assert inputs.tolist() == [[100, 101, 102, 103], [200, 201, 9, 9]]
    assert targets.tolist() == [[IGNORE, 102, 103, 104], [IGNORE, 202, IGNORE, IGNORE]]
    with pytest.raises(ValueError, match="aucun exemple"):
        collate([])


def packed_back(packs):
    """Chaque exemple, relu dans les paquets : {numéro: (inputs, targets, positions, rangée)}."""
    found = {}
    for number in packs.numbers.unique().tolist():
        row, col = (packs.numbers == number).nonzero().T
        if number >= 0:
            assert len(row.unique()) == 1 and (col.diff() == 1).all()  # entier, d’un seul tenant
            parts = (packs.inputs, packs.targets, packs.positions)
            found[number] = tuple(x[row, col].tolist() for x in parts)
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(3, 30), min_size=1, max_size=40))
def test_packs_hold_each_example_once(sizes):
    examples = [example(n, size) for n, size in enumerate(sizes, 1)]
    packs = pack_examples(examples, 32, pad=7)
    found = packed_back(packs)
    assert len(found) == len(examples)
    for number, one in enumerate(examples):
        inputs, targets, positions = found[number]
        assert inputs == one.ids[:-1].tolist() and targets == one.targets.tolist()
        assert positions == list(range(len(one) - 1))
    empty = packs.numbers < 0
    assert (packs.targets[empty] == IGNORE).all() and (packs.inputs[empty] == 7).all()
    used = sum(len(one) - 1 for one in examples)
    assert packs.efficiency == pytest.approx(used / packs.inputs.numel())
    assert len(packs.inputs) == first_fit_decreasing([len(one) - 1 for one in examples], 32)


def first_fit_decreasing(sizes, room):
    """La même règle, écrite avec des listes : nombre de rangées."""
    rows = []
    for size in sorted(sizes, reverse=True):
        free = next((row for row in rows if sum(row) + size <= room), None)
        if free is None:
            rows.append([size])
        else:
            free.append(size)
    return len(rows)


def test_packing_wastes_less_than_padding():
    rng = np.random.default_rng(0)
    examples = [example(n, int(size)) for n, size in enumerate(rng.integers(20, 200, 300), 1)]
    inputs, _ = collate(examples)
    used = sum(len(one) - 1 for one in examples)
    assert pack_examples(examples, 512).efficiency > 0.95 > used / inputs.numel()


def rows_of(batches, epochs=1, first=0):
    """Le premier token de chaque exemple, lot par lot : il dit son numéro."""
    lots = [batches.at(n) for n in range(first, first + epochs * batches.per_epoch)]
    return [sorted((lot[0][:, 0] // 100).tolist()) for lot in lots]


@pytest.mark.parametrize("group_by_length", [False, True])
def test_an_epoch_sees_each_example_once(group_by_length):
    batches = SupervisedBatches(EXAMPLES, 5, 16, seed=1, group_by_length=group_by_length)
    assert batches.per_epoch == 5  # 23 exemples : un lot de 3
    first, second = rows_of(batches), rows_of(batches, first=5)
    for epoch in (first, second):
        assert sorted(sum(epoch, [])) == list(range(1, 24))
    assert first != second and sorted(map(len, first)) == [3, 5, 5, 5, 5]


@pytest.mark.parametrize("packing", [False, True])
def test_a_batch_depends_only_on_its_number(packing):
    make = lambda seed=3: SupervisedBatches(EXAMPLES, 2, 16, seed=seed, packing=packing)  # noqa: E731
    one, other, another = make(), make(), make(4)
    later = [other.at(n) for n in (20, 3, 11)]
    for n, lot in zip((20, 3, 11), later, strict=True):
        assert all(map(torch.equal, lot, one.at(n)))
    assert any(not torch.equal(one.at(n)[0], another.at(n)[0]) for n in range(3))
    assert len(one.at(0)) == (4 if packing else 2)


def test_packed_epoch():
    batches = SupervisedBatches(EXAMPLES, 2, 16, packing=True)
    numbers = torch.cat([batches.at(n)[2].flatten() for n in range(batches.per_epoch)])
    assert sorted(numbers.unique().tolist()) == [-1, *range(23)]
    assert len(numbers) == batches.packs.numbers.numel()


def test_grouping_by_length_saves_padding():
    examples = [example(n, 4 + (7 * n) % 60) for n in range(1, 200)]

    def positions(group):
        batches = SupervisedBatches(examples, 8, 64, group_by_length=group)
        return sum(batches.at(n)[0].numel() for n in range(batches.per_epoch))

    used = sum(len(one) - 1 for one in examples)
    assert used < positions(True) < 1.1 * used < positions(False)


def test_resume_and_refuse():
    batches = SupervisedBatches(EXAMPLES, 4, 16, seed=2)
    steps = iter(batches)
    for _ in range(7):
        next(steps)
    state = batches.state_dict()
    again = SupervisedBatches(EXAMPLES, 4, 16, seed=2)
    again.load_state_dict(state)
    assert all(map(torch.equal, next(steps), next(iter(again))))
    for other in (
        SupervisedBatches(EXAMPLES, 4, 16, seed=3),
        SupervisedBatches(EXAMPLES[:-1] + [example(50, 8)], 4, 16, seed=2),
        SupervisedBatches(EXAMPLES[:-1] + [example(23, 9, asked=3)], 4, 16, seed=2),  # le masque
        SupervisedBatches(EXAMPLES, 4, 16, seed=2, packing=True),
    ):
        with pytest.raises(ValueError, match="les données ont changé"):
            other.load_state_dict(state)


def test_bad_input():
    with pytest.raises(ValueError, match="jeu de données vide"):
        SupervisedBatches([], 4, 16)
    with pytest.raises(ValueError, match="batch_size=0"):
        SupervisedBatches(EXAMPLES, 0, 16)
    with pytest.raises(ValueError, match="exemple 7 : 12 tokens dépassent context=8"):
        SupervisedBatches(EXAMPLES, 4, 8)
    with pytest.raises(ValueError, match="exemple 0 : 19 positions ne tiennent pas"):
        pack_examples([example(1, 20)], 8)
    with pytest.raises(ValueError, match="aucun exemple"):
        pack_examples([], 8)
    with pytest.raises(ValueError, match="token 2308 : le vocabulaire va de 0 à 255"):
        SupervisedBatches(EXAMPLES, 4, 16).check_vocabulary(256)
    SupervisedBatches(EXAMPLES, 4, 16).check_vocabulary(2309)
