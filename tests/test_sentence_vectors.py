"""Vecteurs de textes : couches, moyenne sans remplissage, remèdes, InfoNCE, tête apprise."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llmbook import sentence_vectors as sv

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
TEXTS = ["read a file", "the name of the class that reads lines from a stream", "close", "a b c"]


@pytest.fixture(scope="module")
def encoder():
    return sv.Encoder.from_pretrained(NANO, prefix="<|fin|>", skip=1, max_tokens=16)


def test_states_are_the_layers_of_the_model(encoder):
    from llmbook.model import LanguageModel

    states, mask = encoder.states(TEXTS[1:2])
    model = LanguageModel.from_pretrained(NANO).eval()
    ids = encoder.tokenizer("<|fin|>" + TEXTS[1], return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(states[:, 0], model.embed(ids))
        torch.testing.assert_close(states[:, -1], model.hidden(ids), atol=1e-4, rtol=1e-4)
    assert mask[0, 0] == 0 and mask[0, 1:].all()


@pytest.mark.parametrize("how", ["mean", "last", "first"])
def test_a_vector_does_not_depend_on_its_batch(encoder, how):
    together = encoder.encode(TEXTS, how)
    assert together.shape == (4, 7, 256)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text], how)[0], vector, atol=1e-4)
    padded = sv.pool(*encoder.states(TEXTS), how).numpy()  # avec remplissage
    np.testing.assert_allclose(padded, together, atol=1e-4)


def test_several_poolings_in_one_pass(encoder):
    mean, last = encoder.encode(TEXTS, ("mean", "last"))
    np.testing.assert_array_equal(mean, encoder.encode(TEXTS))
    np.testing.assert_array_equal(last, encoder.encode(TEXTS, "last"))


def test_the_first_token_of_a_causal_model_knows_nothing(encoder):
    first = encoder.encode(TEXTS, "first")
    np.testing.assert_allclose(first, np.broadcast_to(first[0], first.shape), atol=1e-4)


def test_an_encoder_that_is_not_causal(tmp_path):
    """Un BERT minuscule : [CLS] lit tout, et le masque protège du remplissage."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocab = {w: i for i, w in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "c"])}
    raw = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[
        ("[CLS]", 1), ("[SEP]", 2)])  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=7, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=16)  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = sv.Encoder.from_pretrained(tmp_path, max_tokens=16)
    padded = sv.pool(*model.states(["a b", "a b c c b a"])).numpy()
    np.testing.assert_allclose(padded[0], model.encode(["a b"])[0], atol=1e-5)
    first = model.encode(["a b", "b a c"], "first")[:, -1]
    assert np.abs(first[0] - first[1]).max() > 1e-3


def test_unknown_pooling_is_said(encoder):
    with pytest.raises(ValueError, match="« mean », « last » ou « first »"):
        encoder.encode(TEXTS, "max")
    with pytest.raises(ValueError, match="max_tokens=1"):
        sv.Encoder(encoder.model, encoder.tokenizer, skip=1, max_tokens=1)


def test_removing_components_equals_pca():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6)) * np.arange(1, 7) + 3
    new = rng.normal(size=(4, 6))
    pca = PCA(2, svd_solver="full").fit(X)
    expected = new - pca.inverse_transform(pca.transform(new))
    np.testing.assert_allclose(sv.remove_top(X, 2)(new), expected, atol=1e-9)
    np.testing.assert_allclose(sv.remove_top(X, 0)(new), new - X.mean(axis=0))


def test_whitening_gives_the_identity():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)) + 2
    white = sv.whiten(X, eps=0)(X)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(5), atol=1e-9)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-9)


def test_info_nce_is_the_mean_of_two_cross_entropies():
    x, y = (F.normalize(torch.randn(6, 4), dim=1) for _ in range(2))
    logits = x @ y.T / 0.2
    rows = -logits.log_softmax(1).diagonal().mean()
    columns = -logits.log_softmax(0).diagonal().mean()
    torch.testing.assert_close(sv.info_nce(x, y, 0.2), (rows + columns) / 2)
    same = F.normalize(torch.ones(5, 3), dim=1)
    assert sv.info_nce(same, same, 0.1).item() == pytest.approx(np.log(5), abs=1e-5)


def test_the_head_learns_what_pairs_share():
    """Huit coordonnées communes aux deux vues, quarante de bruit : la tête garde les premières."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(400, 1, 8)).repeat(2, axis=1)  # (N, L = 2, 8)
    x, y = (
        np.concatenate([common, rng.normal(size=(400, 2, 40))], axis=-1).astype(np.float32)
        for _ in range(2)
    )
    config = sv.ContrastConfig(out=16, steps=150, batch_size=128)
    head, losses = sv.train_head(x[:340], y[:340], config)
    assert losses[-1] < 0.6 * losses[0]
    fresh = sv.Head(torch.from_numpy(x[:340]), 16)
    right = []
    for each in (fresh, head):
        with torch.no_grad():
            a, b = (each(torch.from_numpy(v[340:])).numpy() for v in (x, y))
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
        right.append(((a @ b.T).argmax(1) == np.arange(60)).mean())
    assert right[1] > 0.5 > 2 * right[0]
    again, _ = sv.train_head(x[:340], y[:340], config)
    torch.testing.assert_close(again.matrix, head.matrix)
    with pytest.raises(ValueError, match="deux tableaux"):
        sv.train_head(x, y[:5])
