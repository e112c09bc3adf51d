"""Lignes de plongement apprises : égales à peft, et sans effet sur le reste de la table."""

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from llmbook.layers import ModelConfig
from llmbook.lora import (
    LoraConfig,
    adapters_disabled,
    inject,
    merge_and_unload,
    trainable_parameters,
)
from llmbook.lora_files import load_adapter, save_adapter
from llmbook.lora_tokens import RowsEmbedding, merge_tokens, token_rows, train_tokens
from llmbook.model import LanguageModel

IDS = [2, 7]


def llama(tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            tie_word_embeddings=tied,
        )
    ).eval()


def ours() -> LanguageModel:
    torch.manual_seed(0)
    shape = dict(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=64, context=64)
    return LanguageModel(ModelConfig(50, **shape)).eval()


def tokens(seed: int = 0) -> torch.Tensor:
    found = torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(seed))
    found[:, 3] = torch.tensor([2, 7, 2])  # les lignes apprises y passent
    return found


def logits(model, ids):
    found = model(ids)
    return getattr(found, "logits", found)


@pytest.mark.parametrize("build", [ours, llama, lambda: llama(tied=False)])
def test_nothing_changes_before_learning_and_merging_keeps_what_was_learned(build):
    model, ids = build(), tokens()
    before = logits(model, ids).detach()
    rows = train_tokens(model, IDS)
    torch.testing.assert_close(logits(model, ids), before)
    with torch.no_grad():
        rows.rows.add_(torch.randn(rows.rows.shape))
    after = logits(model, ids).detach()
    assert (after - before).abs().max() > 0.01
    merge_tokens(model)
    assert token_rows(model) is None and not any(
        isinstance(m, RowsEmbedding) for m in model.modules()
    )
    torch.testing.assert_close(logits(model, ids), after)


@pytest.mark.parametrize("tied", [True, False])
def test_outputs_and_gradients_are_those_of_peft(tied):
    theirs = get_peft_model(
        llama(tied), PeftConfig(r=2, target_modules=["q_proj"], trainable_token_indices=IDS)
    )
    delta = next(p for n, p in theirs.named_parameters() if "trainable_tokens_delta" in n)
    model, ids = llama(tied), tokens(1)
    rows = train_tokens(model, IDS)
    start = torch.randn(delta.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        delta.copy_(start)
        rows.rows.copy_(start)
    losses = [m(ids, labels=ids).loss for m in (theirs, model)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(rows.rows.grad, delta.grad, atol=1e-6, rtol=1e-5)


def test_only_the_named_rows_move():
    model = ours()
    model.requires_grad_(False)
    table = model.embed.weight.clone()
    rows = train_tokens(model, IDS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(model(tokens()).flatten(0, 1), tokens(3).flatten()).backward()
    optimizer.step()
    assert rows.rows.grad is not None
    merge_tokens(model)
    changed = (model.embed.weight != table).any(1).nonzero().flatten().tolist()
    assert changed == IDS and model.lm_head.weight is model.embed.weight


def test_dropping_the_rows_gives_the_base_back():
    model, ids = ours(), tokens()
    before = model(ids).detach()
    with torch.no_grad():
        train_tokens(model, IDS).rows.zero_()
    merge_tokens(model, keep=False)
    torch.testing.assert_close(model(ids), before, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([50], "vocabulaire"), ([-1], "vocabulaire"), ([2, 2], "différents"), ([], "au moins")],
)
def test_bad_tokens_are_refused(ids, message):
    model = ours()
    names = [name for name, _ in model.named_modules()]
    with pytest.raises(ValueError, match=message):
        train_tokens(model, ids)
    assert [name for name, _ in model.named_modules()] == names


def test_twice_or_never():
    model = ours()
    with pytest.raises(ValueError, match="aucune ligne"):
        merge_tokens(model)
    train_tokens(model, IDS)
    with pytest.raises(ValueError, match="déjà apprises"):
        train_tokens(model, [4])


@pytest.mark.parametrize("build", [ours, llama, lambda: llama(tied=False)])
def test_files_keep_the_rows_and_peft_reads_them(build, tmp_path):
    model, ids = build(), tokens()
    targets = ("qkv", "down") if isinstance(model, LanguageModel) else ("q_proj", "down_proj")
    inject(model, LoraConfig(rank=2, alpha=4, targets=targets))
    rows = train_tokens(model, IDS)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trainable_parameters(model):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    wanted = logits(model, ids).detach()
    save_adapter(model, tmp_path)

    again = build()
    load_adapter(again, tmp_path)
    torch.testing.assert_close(logits(again, ids), wanted)
    assert token_rows(again).ids.tolist() == rows.ids.tolist()

    base = build()
    before = logits(base, ids).detach()
    theirs = PeftModel.from_pretrained(
        base.to_hf() if isinstance(base, LanguageModel) else base, tmp_path
    )
    torch.testing.assert_close(theirs(ids).logits, wanted, atol=1e-5, rtol=1e-5)
    with adapters_disabled(again):
        torch.testing.assert_close(logits(again, ids), before)
    torch.testing.assert_close(logits(merge_and_unload(again), ids), wanted, atol=1e-5, rtol=1e-5)


def test_what_peft_writes_is_read(tmp_path):
    config = PeftConfig(r=2, target_modules=["q_proj"], trainable_token_indices=IDS)
    theirs = get_peft_model(llama(), config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    theirs.save_pretrained(tmp_path)
    model = llama()
    load_adapter(model, tmp_path)
    ids = tokens(2)
    torch.testing.assert_close(model(ids).logits, theirs(ids).logits, atol=1e-5, rtol=1e-5)
