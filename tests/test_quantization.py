"""llmbook.quantization et les dossiers en int8, lus aussi par transformers (compressed-tensors)."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from llmbook.model import LanguageModel, ModelConfig
from llmbook.quantization import dequantize_int8, quantize_int8

CONFIG = ModelConfig(61, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, context=32)


def random_model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(CONFIG).eval()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 9), st.floats(1e-6, 1e4))
def test_error_is_at_most_half_a_step(seed, rows, columns, size):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    values, scale = quantize_int8(weight)
    gap = (dequantize_int8(values, scale) - weight).abs()
    bound = scale.float() * (0.5 + 127 * 2**-8)  # l’échelle elle-même est arrondie en bfloat16
    assert values.dtype == torch.int8 and (gap <= bound * (1 + 1e-5)).all()


def test_rows_have_their_own_scale_and_null_rows_stay_null():
    weight = torch.tensor([[1.0, -2.0], [0.0, 0.0], [1e-3, 5e-4]])
    values, scale = quantize_int8(weight)
    assert values.tolist() == [[64, -127], [0, 0], [127, 64]] and scale[1] == 0
    again = quantize_int8(dequantize_int8(values, scale))
    assert torch.equal(again[0], values)  # arrondir deux fois ne change plus rien


def test_equal_to_the_rounding_of_torch():
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    values, scale = quantize_int8(weight)
    theirs = torch.fake_quantize_per_channel_affine(
        weight, scale.float().flatten(), torch.zeros(5, dtype=torch.int32), 0, -127, 127
    )
    assert torch.equal(theirs, dequantize_int8(values, scale))


def test_int8_folder_is_read_by_transformers_and_by_us(tmp_path):
    model = random_model()
    folder = model.save_pretrained(tmp_path / "m", int8=True, eos_token_id=0)
    ours = LanguageModel.from_pretrained(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.randint(61, (2, 17), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)
        assert 0 < (ours(tokens) - model(tokens)).abs().max() < 0.1
    for name, weight in ours.state_dict().items():
        assert (weight - model.state_dict()[name]).abs().max() <= 0.01 * weight.abs().max(), name


def test_int8_is_half_of_bfloat16(tmp_path):
    wide = ModelConfig(61, d_model=128, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=352, context=32)
    model = LanguageModel(wide)
    sizes = [
        (model.save_pretrained(tmp_path / str(i), int8=i) / "model.safetensors").stat().st_size
        for i in (False, True)
    ]
    assert 1.8 < sizes[0] / sizes[1] < 2


def test_other_quantizations_are_refused(tmp_path):
    folder = random_model().save_pretrained(tmp_path, int8=True)
    described = json.loads((folder / "config.json").read_text("utf-8"))
    described["quantization_config"]["quant_method"] = "gptq"
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ValueError, match="gptq.*int8 par ligne"):
        LanguageModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize_int8(torch.zeros(3)), "matrice"),
        (lambda: quantize_int8(torch.tensor([[float("nan")]])), "nan"),
        (lambda: dequantize_int8(torch.zeros(2, 2), torch.ones(2, 1)), "int8"),
        (lambda: dequantize_int8(torch.zeros(2, 2, dtype=torch.int8), torch.ones(2)), "échelles"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
