"""NF4 et la double quantification, égaux à bitsandbytes bit pour bit."""

import logging
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbook.model import LanguageModel
from llmbook.quantization_blocks import (
    dequantize_nf4,
    encode,
    fp4_levels,
    int4_levels,
    nf4_levels,
    quantize_nf4,
    round_to_levels,
)
from llmbook.quantization_double import create_dynamic_map, expand_scales, quantize_dynamic
from tools.bench import peak_bytes

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # un noyau facultatif qu’il n’a pas
bnb = pytest.importorskip("bitsandbytes")
functional = bnb.functional


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check_equal(weight, block=64, double=True):
    """Chaque octet, chaque échelle et chaque poids retrouvé est celui de bitsandbytes."""
    theirs, state = functional.quantize_4bit(
        weight, blocksize=block, quant_type="nf4", compress_statistics=double
    )
    ours = quantize_nf4(weight, block, double)
    assert torch.equal(ours.codes, theirs.flatten())
    assert torch.equal(ours.absmax, state.absmax)
    if double:
        assert torch.equal(ours.absmax_scale, state.state2.absmax)
        assert torch.equal(ours.absmax_mean, state.offset)
    # Une ligne, de longueur paire : AVX-512 chez eux suppose des lignes multiples du bloc, ou seules
    state.shape = torch.Size([weight.numel() + weight.numel() % 2])
    back = functional.dequantize_4bit(theirs, state).flatten()[: weight.numel()]
    assert torch.equal(dequantize_nf4(ours, weight.dtype), back.view(weight.shape))


# Les niveaux


def test_levels_are_those_of_bitsandbytes():
    assert torch.equal(nf4_levels(), functional.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(create_dynamic_map(), functional.create_dynamic_map())
    fp4 = functional.get_4bit_type("fp4", device="cpu")
    assert torch.equal(fp4_levels(), fp4.unique())


def test_quantiles_use_their_four_bits_best():
    """L’entropie des numéros d’un poids gaussien, en bits : le plus près de 4 est NF4."""
    weight = random(2**18)

    def entropy(levels):
        share = encode(weight, levels, 64)[0].flatten().bincount() / weight.numel()
        return torch.special.entr(share).sum() / math.log(2)

    assert entropy(nf4_levels()) > 3.85 > 3.75 > entropy(fp4_levels()) > entropy(int4_levels())


def test_nf4_beats_fp4_and_int4_on_gaussian_and_real_weights():
    nano = LanguageModel.from_pretrained(NANO).blocks[2].ffn.down.weight
    for weight in (random(512, 512), nano.detach()):
        error = [
            (round_to_levels(weight, levels()) - weight).square().mean()
            for levels in (nf4_levels, int4_levels, fp4_levels)
        ]
        assert error[0] < 0.9 * error[1] < error[1] < 0.9 * error[2]


def test_fp4_rounding_is_that_of_bitsandbytes():
    weight = random(65, 64)
    packed, state = functional.quantize_4bit(weight, quant_type="fp4")
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).flatten().int()
    values = state.code[codes].view(-1, 64) * state.absmax[:, None]
    assert torch.equal(round_to_levels(weight, fp4_levels()), values.view(weight.shape))


# Les octets


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([32, 64, 128]),
    st.booleans(),
    st.floats(-37, 30),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_equal_bitsandbytes_bit_for_bit(seed, shape, block, double, power, dtype):
    """Toute forme (dernier bloc incomplet, nombre impair), toute taille, du sous-normal à 1e30."""
    weight = (random(*shape, seed=seed) * 10**power).clamp(-6e4, 6e4).to(dtype)
    check_equal(weight, block, double)


def test_equal_bitsandbytes_on_real_weights():
    model = LanguageModel.from_pretrained(NANO)
    for block in model.blocks:
        for layer in (block.attention.qkv, block.attention.out, block.ffn.gate_up, block.ffn.down):
            check_equal(layer.weight.detach())
            check_equal(layer.weight.detach().bfloat16())
    check_equal(model.embed.weight.detach())  # un million de poids : plusieurs tranches


def test_equal_bitsandbytes_on_null_and_tied_weights():
    check_equal(torch.zeros(9, 64))
    check_equal(torch.zeros(3, 7))
    check_equal(random(500, 64) * (random(500, 1, seed=1) > 0))  # des blocs nuls parmi d’autres
    thresholds = (nf4_levels()[:-1] + nf4_levels()[1:]) / 2
    near = torch.cat([thresholds, torch.nextafter(thresholds, torch.ones(15)), -thresholds])
    block = torch.cat([near, torch.ones(64 - len(near))])
    codes = quantize_nf4(block, double=False).codes
    pairs = torch.stack([codes >> 4, codes & 15], dim=-1).flatten()
    assert torch.equal(pairs[:15], torch.arange(15).to(torch.uint8))  # à égalité, le plus bas
    assert torch.equal(pairs[15:30], torch.arange(1, 16).to(torch.uint8))  # un rien au-dessus
    for scale in (1.0, 0.5, 0.3, 3.0):
        check_equal(block * scale)
        check_equal(torch.cat([block, block[:45]]) * scale)  # et dans un dernier bloc incomplet


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 1500), st.floats(-30, 30))
def test_dynamic_code_is_that_of_bitsandbytes(seed, n, power):
    x = random(n, seed=seed) * 10**power
    theirs, state = functional.quantize_blockwise(x, blocksize=256)
    codes, scale = quantize_dynamic(x)
    assert torch.equal(codes, theirs) and torch.equal(scale, state.absmax)
    mean = torch.tensor(0.25)
    back = functional.dequantize_blockwise(theirs, state) + mean
    assert torch.equal(expand_scales(codes, scale, mean), back)


def test_every_dynamic_level_comes_back():
    levels = create_dynamic_map()
    fine = levels.abs() > 1e-2  # au-dessous, la grille de 65 535 pas de bitsandbytes les confond
    codes, scale = quantize_dynamic(levels)
    assert scale == 1 and torch.equal(codes[fine].int(), torch.arange(256)[fine].int())


def test_bits_per_weight():
    n = 64 * 256 * 4
    weight = random(n // 64, 64)
    assert quantize_nf4(weight, double=False).bits_per_weight() == 4 + 32 / 64
    double = 4 + 8 / 64 + 32 / (64 * 256) + 32 / n  # 4,127, et la moyenne
    assert quantize_nf4(weight).bits_per_weight() == double


def test_memory_of_quantization_does_not_grow_with_the_weight():
    weight = random(4096, 1024)
    packed = quantize_nf4(weight)
    stored = sum(t.nbytes for t in (packed.codes, packed.absmax)) * 1.2
    assert peak_bytes(lambda: quantize_nf4(weight)) - stored < weight.nbytes / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize_nf4(random(4, 4), block=3), "pair"),
        (lambda: quantize_nf4(torch.zeros(0, 4)), "0 poids"),
        (lambda: quantize_nf4(torch.arange(64)), "flottants"),
        (lambda: quantize_nf4(torch.tensor([1.0, torch.inf])), "infinis"),
        (lambda: round_to_levels(random(4), torch.tensor([1.0, 0.0])), "du plus petit"),
        (lambda: round_to_levels(torch.tensor([torch.nan]), nf4_levels()), "nan"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
