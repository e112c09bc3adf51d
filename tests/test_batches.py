"""llmbook.batches : chaque suite une fois par époque, les mêmes lots partout et à la reprise."""

import itertools

import numpy as np
import pytest
import torch

from llmbook.attention import attention, sdpa
from llmbook.batches import Batches, document_mask, pack

FLAT = np.arange(1, 104, dtype=np.uint16)  # 103 tokens, tous différents : 12 suites de 8, reste 7


def take(batches, n):
    return [inputs for inputs, _ in itertools.islice(iter(batches), n)]


def test_targets_follow_inputs():
    for inputs, targets in itertools.islice(iter(Batches(FLAT, 3, 8, seed=1)), 20):
        assert inputs.shape == targets.shape == (3, 8)
        assert inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        # Le successeur de chaque token, sur le cercle
        assert torch.equal(targets, inputs % 103 + 1)


def test_an_epoch_sees_each_sequence_once():
    batches = Batches(FLAT, 3, 8)
    assert batches.per_epoch == 12
    epochs = [torch.cat(take(batches, 4)) for _ in range(3)]
    for epoch in epochs:
        assert len(epoch.unique()) == epoch.numel() == 96
    starts = [set(epoch[:, 0].tolist()) for epoch in epochs]
    assert starts[0] != starts[1] != starts[2]  # les coupures changent
    order = [epoch[:, 0].tolist() for epoch in epochs]
    assert all(each != sorted(each) for each in order)


def test_an_epoch_may_end_inside_a_batch():
    """12 suites par lots de 5 : les 12 premières rangées sont une époque, les 12 suivantes aussi."""
    rows = torch.cat(take(Batches(FLAT, 5, 8), 5))
    assert len(rows[:12].unique()) == len(rows[12:24].unique()) == 96


def test_same_seed_same_batches_from_a_file(tmp_path):
    path = tmp_path / "tokens.bin"
    FLAT.tofile(path)
    on_disk = np.memmap(path, dtype=np.uint16, mode="r")
    here, there = take(Batches(FLAT, 4, 8, seed=3), 9), take(Batches(on_disk, 4, 8, seed=3), 9)
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
    other = take(Batches(FLAT, 4, 8, seed=4), 9)
    assert not all(torch.equal(a, b) for a, b in zip(here, other, strict=True))


def test_resumes_where_it_stopped():
    whole = take(Batches(FLAT, 4, 8), 11)
    first = Batches(FLAT, 4, 8)
    take(first, 6)
    second = Batches(FLAT, 4, 8)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(whole[6:], take(second, 5), strict=True))
    assert torch.equal(whole[9], second.at(9)[0])  # à la demande, en arrière aussi
    assert torch.equal(whole[2], second.at(2)[0])


def test_refuses_other_data():
    state = Batches(FLAT, 4, 8).state_dict()
    changed = FLAT.copy()
    changed[50] = 0
    for other in (
        Batches(changed, 4, 8),
        Batches(FLAT[:-1], 4, 8),
        Batches(FLAT, 2, 8),
        Batches(FLAT, 4, 8, seed=1),
    ):
        with pytest.raises(ValueError, match="les données ont changé"):
            other.load_state_dict(state)


def test_ranks_share_each_batch():
    whole = Batches(FLAT, 6, 8)
    parts = [Batches(FLAT, 6, 8, rank=rank, world_size=3) for rank in range(3)]
    for n in range(7):
        shares = [part.at(n)[1] for part in parts]
        assert torch.equal(torch.cat(shares), whole.at(n)[1])


def test_shortest_corpus():
    inputs, targets = Batches(np.array([5, 6, 7]), 2, 2).at(0)
    assert torch.equal(inputs[0], inputs[1] if inputs[0, 0] == inputs[1, 0] else inputs[0])
    assert set(targets.unique().tolist()) <= {5, 6, 7}


def test_pack_ends_each_document():
    flat, numbers = pack([[5, 6], [], np.array([7])], numbered=True)
    assert flat.tolist() == [5, 6, 0, 0, 7, 0] and flat.dtype == np.uint16
    assert numbers.tolist() == [0, 0, 0, 1, 2, 2]
    wide = pack([[70_000]], fin=9)
    assert wide.tolist() == [70_000, 9] and wide.dtype == np.uint32


def test_document_mask_leaks_nothing():
    """Deux documents dans une suite, et chacun seul : la même attention."""
    _, numbers = pack([range(4), range(6)], numbered=True)
    q, k, v = torch.randn(3, 1, 2, 12, 8, generator=torch.Generator().manual_seed(0))
    mask = document_mask(torch.from_numpy(numbers)[None])
    together = sdpa(q, k, v, mask=mask)
    apart = [attention(*(x[:, :, part] for x in (q, k, v))) for part in (slice(5), slice(5, 12))]
    torch.testing.assert_close(together, torch.cat(apart, dim=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1, 8), "corpus est vide"),
        ((FLAT[:8], 1, 8), "au moins 9"),
        ((FLAT.astype(float), 1, 8), "tableau plat d’entiers"),
        ((FLAT[None], 1, 8), "tableau plat d’entiers"),
        ((FLAT, 0, 8), "batch_size=0"),
        ((FLAT, 1, 0), "context=0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        Batches(*arguments)


def test_bad_shares_and_tokens():
    with pytest.raises(ValueError, match="ne se partage pas entre 2 processus"):
        Batches(FLAT, 3, 8, world_size=2)
    with pytest.raises(ValueError, match="rank=2"):
        Batches(FLAT, 4, 8, rank=2, world_size=2)
    with pytest.raises(ValueError, match="va de 0 à 102"):
        Batches(FLAT, 1, 8).check_vocabulary(103)
    Batches(FLAT, 1, 8).check_vocabulary(104)
    with pytest.raises(ValueError, match="corpus est vide"):
        pack([])
    with pytest.raises(ValueError, match="positif"):
        pack([[1, -1]])
    with pytest.raises(ValueError, match="numéros de tokens"):
        pack([[0.5]])
    with pytest.raises(ValueError, match="au moins 6"):
        pack([[1, 2]], 5)
