"""Les décodeurs rapides rendent les logits de la version simple, pour toutes les formes du modèle."""

import pytest

torch = pytest.importorskip("torch")

from llmbook.generation import SimpleDecoder, generate  # noqa: E402
from llmbook.generation_fast import FastDecoder  # noqa: E402
from llmbook.generation_static import StaticDecoder  # noqa: E402
from llmbook.model import LanguageModel, ModelConfig  # noqa: E402

SHAPES = {
    "llama": dict(),
    "têtes_séparées": dict(n_kv_heads=4, tie_embeddings=False),
    "une_tête_de_clés": dict(n_kv_heads=1, head_dim=6),
    "qwen2": dict(qkv_bias=True),
    "qwen3": dict(qk_norm=True, head_dim=16),
    "fenêtre": dict(window=5),
}
DECODERS = {"fast": FastDecoder, "static": StaticDecoder}


def random_model(**changes) -> LanguageModel:
    """Tous les poids au hasard, biais et normes compris : un oubli se verrait."""
    torch.manual_seed(0)
    shape = dict(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=40, context=48)
    model = LanguageModel(ModelConfig(53, **(shape | changes)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.3)
            if name.endswith("norm.weight"):
                weight.add_(1)
    return model.eval()


def logits_along(decoder, prompt, tokens):
    return torch.stack([decoder.start(prompt).clone(), *(decoder.step(t).clone() for t in tokens)])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", DECODERS.values(), ids=DECODERS)
def test_same_logits_as_the_simple_decoder(shape, kind):
    model = random_model(**shape)
    tokens = torch.randint(53, (20,), generator=torch.Generator().manual_seed(3)).tolist()
    decoder = kind(model)
    for prompt in ([7, 7, 1, 30], [2], tokens):  # le même décodeur repart de zéro à chaque fois
        expected = logits_along(SimpleDecoder(model), prompt, tokens)
        got = logits_along(decoder, prompt, tokens)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", DECODERS.values(), ids=DECODERS)
def test_same_tokens_up_to_the_end_of_the_context(kind):
    model = random_model()
    for options in (dict(temperature=None), dict(temperature=1.5, top_k=7)):
        options |= dict(max_tokens=44)
        torch.manual_seed(1)
        expected = generate(model, [1, 2, 3, 4], **options)
        torch.manual_seed(1)
        assert generate(model, [1, 2, 3, 4], decoder=kind(model), **options) == expected


def test_huge_gates_do_not_warn(recwarn):
    """exp(-g) déborde : silu(g) vaut 0, sans avertissement ni NaN."""
    model = random_model()
    with torch.no_grad():
        model.blocks[0].ffn.gate_up.weight.mul_(1e3)
    got, expected = (
        logits_along(d, [1], [2, 3]) for d in (FastDecoder(model), SimpleDecoder(model))
    )
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_full_context_is_an_error():
    model = random_model(context=4)
    for kind in DECODERS.values():
        decoder = kind(model)
        decoder.start([1, 2, 3])
        decoder.step(4)
        with pytest.raises(ValueError, match="plein"):
            decoder.step(5)


def test_wrong_device_or_mode_is_refused():
    with pytest.raises(ValueError, match="FastDecoder travaille sur processeur"):
        FastDecoder(random_model().to("meta"))
    with pytest.raises(ValueError, match="CUDA graph"):
        StaticDecoder(random_model(), how="graph")
    with pytest.raises(ValueError, match="eager, compile ou graph"):
        StaticDecoder(random_model(), how="vite")


@pytest.mark.lent
def test_compiled_step_gives_the_same_logits():
    model = random_model()
    got = logits_along(StaticDecoder(model, how="compile"), [1, 2], [3, 4, 5])
    torch.testing.assert_close(
        got, logits_along(SimpleDecoder(model), [1, 2], [3, 4, 5]), atol=1e-4, rtol=1e-4
    )


@pytest.mark.gpu
@pytest.mark.parametrize("how", ["eager", "graph"])
def test_graph_on_a_gpu_gives_the_same_tokens(how):
    if not torch.cuda.is_available():
        pytest.skip("pas de carte NVIDIA")
    model = random_model()
    options = dict(max_tokens=40, temperature=None)
    expected = generate(model, [1, 2, 3], **options)
    model.cuda()
    decoder = StaticDecoder(model, how=how)
    assert generate(model, [1, 2, 3], decoder=decoder, **options) == expected
    assert generate(model, [1, 2, 3], decoder=decoder, **options) == expected
