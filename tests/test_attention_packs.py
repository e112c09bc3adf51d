"""llmbook.attention_packs : la formule masquée, exemple par exemple."""

import pytest
import torch

from llmbook.attention import attention, sdpa
from llmbook.attention_packs import attention_by_example
from llmbook.batches import document_mask

NUMBERS = torch.tensor(
    [
        [3] * 5 + [0] * 1 + [7] * 9 + [1] * 2,
        [2] * 17,
        [5] * 4 + [6] * 6 + [-1] * 7,
    ]
)


@pytest.fixture
def qkv():
    torch.manual_seed(0)
    shapes = ((3, 4, 17, 8), (3, 2, 17, 8), (3, 2, 17, 8))
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("window", [None, 3])
def test_equals_the_masked_formula(qkv, window):
    real = (NUMBERS >= 0)[:, None, :, None]
    expected = attention(*qkv, mask=document_mask(NUMBERS), window=window) * real
    found = attention_by_example(NUMBERS)(*qkv, causal=True, window=window)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * weights).sum(), qkv)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), qkv), wanted)


def test_one_example_is_sdpa(qkv):
    whole = torch.zeros(3, 17, dtype=torch.long)
    torch.testing.assert_close(attention_by_example(whole)(*qkv), sdpa(*qkv))


def test_nothing_to_see():
    with pytest.raises(ValueError, match="tout est du remplissage"):
        attention_by_example(torch.full((2, 4), -1))
