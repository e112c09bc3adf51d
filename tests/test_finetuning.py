"""llmbook.finetuning : la perte exacte, des exemples qui ne se voient pas, les mêmes pas que torch."""

import copy
import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from peft import LoraConfig, get_peft_model

from llmbook.batches_sft import Example, SupervisedBatches, collate
from llmbook.chat_template import CHATML
from llmbook.finetuning import Diverged, FinetuneConfig, finetune, validation_loss
from llmbook.finetuning_loss import Learner
from llmbook.losses import IGNORE
from llmbook.model import LanguageModel, ModelConfig

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
V = 61
SIZES = (7, 12, 5, 9, 20, 6, 11, 8)


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return [Example(rng.integers(V, size=n), np.arange(n) >= n // 2) for n in SIZES]


def ours(**options):
    torch.manual_seed(0)
    shape = dict(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, context=32)
    model = LanguageModel(ModelConfig(V, **(shape | options)))
    with torch.no_grad():
        for p in model.parameters():  # des poids qui comptent : une fuite se verrait
            p.mul_(4.0 if p.ndim == 2 else 1.0)
    return model


def hugging(attention="sdpa"):
    model = ours().to_hf()
    model.set_attn_implementation(attention)
    return model


def adapted(**options):
    torch.manual_seed(1)
    targets = ["q_proj", "down_proj"]
    return get_peft_model(
        hugging(), LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **options)
    )


def adapted_rows():
    """Deux lignes de la table apprises : la tête, liée, les reçoit."""
    return adapted(trainable_token_indices=[2, 3])


MODELS = {"livre": ours, "transformers": hugging, "peft": adapted, "lignes": adapted_rows}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def logits_of(model, inputs):
    return model(inputs) if isinstance(model, LanguageModel) else model(input_ids=inputs).logits


def by_torch(model, examples):
    """Perte moyenne par token appris : chaque exemple seul, tous ses logits."""
    total = count = 0
    for one in examples:
        inputs, targets = collate([one])
        logits = logits_of(model, inputs)[0]
        total = total + F.cross_entropy(logits, targets[0], reduction="sum", ignore_index=IGNORE)
        count += int((targets != IGNORE).sum())
    return total / count


def gradients(model, loss):
    params = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(loss, params)


def one_batch(examples, packing):
    """Tous les exemples en un lot ; en paquets, trois rangées de 32 positions."""
    batches = SupervisedBatches(examples, len(examples), 32, packing=packing)
    assert batches.per_epoch == 1
    return batches.at(0)


@each_model
@pytest.mark.parametrize("packing", [False, True], ids=["rangées", "paquets"])
def test_loss_and_gradients_are_those_of_separate_examples(make, packing, examples):
    model = make()
    expected = by_torch(model, examples)
    wanted = gradients(model, expected)
    learner, lot = Learner(model), one_batch(examples, packing)
    with learner.alone(lot[2] if packing else None):
        loss = learner.loss(*lot)
        found = gradients(model, loss)
    assert learner.head is not None
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [ours, lambda: ours(window=6), hugging, lambda: hugging("eager")],
    ids=["livre", "fenêtre", "sdpa", "eager"],
)
def test_neighbours_are_invisible(make, examples):
    """Changer tous les voisins d’un exemple ne change pas un bit de ses états cachés."""
    model = make()
    learner, (inputs, _, numbers, positions) = Learner(model), one_batch(examples, True)
    mine = numbers == 3
    changed = inputs.where(mine, (inputs + 17) % V)

    def hidden(tokens):
        with torch.no_grad(), learner.alone(numbers):
            return learner.hidden(tokens, numbers, positions)

    before, after = hidden(inputs), hidden(changed)
    assert torch.equal(before[mine], after[mine])
    assert not torch.equal(before[~mine], after[~mine])
    with torch.no_grad():  # la même rangée sans masque : l’exemple voit ceux qui le précèdent
        if isinstance(model, LanguageModel):
            open_, leaked = model.hidden(inputs), model.hidden(changed)
        else:
            open_, leaked = (model.model(x).last_hidden_state for x in (inputs, changed))
    assert positions[mine][0] == 0 and not torch.equal(open_[mine], leaked[mine])


@each_model
def test_accumulating_weighs_tokens_not_batches(make, examples):
    """Huit exemples en quatre lots ou en un seul : le même pas ; la moyenne des moyennes, non."""
    runs = {}
    for size, accumulate in ((2, 4), (8, 1)):
        model = make()
        before = by_torch(model, examples).item()
        batches = SupervisedBatches(examples, size, 32)
        config = FinetuneConfig(steps=1, accumulate=accumulate, clip=None, warmup=0)
        (step,) = finetune(model, batches, config)
        weights = [p.detach() for p in model.parameters() if p.requires_grad]
        runs[size] = step, weights
        assert step.loss == pytest.approx(before, rel=1e-5)
        assert step.learned == sum(int(one.mask[1:].sum()) for one in examples)
        assert step.epoch == 1
    (a, weights_a), (b, weights_b) = runs.values()
    assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    torch.testing.assert_close(weights_a, weights_b, rtol=0, atol=1e-5)
    lots = [SupervisedBatches(examples, 2, 32).at(n) for n in range(4)]
    learner = Learner(make())
    of_means = sum(learner.loss(*lot).item() for lot in lots) / 4
    assert abs(of_means - a.loss) > 1e-3


@each_model
def test_three_steps_equal_torch(make, examples):
    """AdamW de torch, écrêtage, planification et perte de transformers, sur les mêmes lots."""
    model, batches = make(), SupervisedBatches(examples, 4, 32, seed=5)
    other = copy.deepcopy(model)
    config = FinetuneConfig(
        steps=3, learning_rate=3e-3, weight_decay=0.1, clip=0.5, warmup=1, schedule="linear"
    )
    steps = list(finetune(model, batches, config))
    params = [p for p in other.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=3e-3, fused=False)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 1, 3)
    for number, step in enumerate(steps):
        inputs, targets = batches.at(number)
        logits = logits_of(other, inputs).flatten(0, 1)
        loss = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 0.5)
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        assert step.grad_norm == pytest.approx(norm.item(), rel=1e-4)
        assert step.learning_rate == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step(), schedule.step(), optimizer.zero_grad()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)


def test_only_the_adapter_learns(examples):
    model = adapted()
    before = {name: p.clone() for name, p in model.named_parameters()}
    seen = []
    for step in finetune(model, SupervisedBatches(examples, 4, 32), FinetuneConfig(steps=3)):
        seen.append((step.step, step.steps, model.training))  # entre deux pas, on peut s’en servir
    assert seen == [(1, 3, False), (2, 3, False), (3, 3, False)]
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) != ("lora" in name), name


@pytest.mark.parametrize("packing", [False, True])
@each_model
def test_recomputing_changes_nothing(make, packing, examples):
    """Recalculer en arrière doit revoir le même masque : oublié, le gradient d’un paquet est faux."""
    found = []
    for recompute in (False, True):
        model, batches = make(), SupervisedBatches(examples, 4, 32, packing=packing)
        config = FinetuneConfig(steps=2, gradient_checkpointing=recompute, learning_rate=1e-3)
        steps = [(s.loss, s.grad_norm) for s in finetune(model, batches, config)]
        found.append((steps, [p.detach() for p in model.parameters()]))
        assert not any("forward" in vars(module) for module in model.modules())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)


def tiny(kind, **options):
    shape = dict(
        vocab_size=V,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(shape | options))
    return transformers.AutoModelForCausalLM.from_config(config).float().eval()


@pytest.mark.parametrize(
    ("kind", "options", "splits"),
    [
        ("qwen3", {}, True),
        ("gpt2", {"n_positions": 32}, True),  # positions apprises : il faut les remettre à zéro
        ("phi", {}, True),  # la tête a un biais
        ("gemma2", {"final_logit_softcapping": 0.1, "sliding_window": 32}, False),  # logits bornés
    ],
)
@pytest.mark.parametrize("packing", [False, True])
def test_other_architectures(kind, options, splits, packing, examples):
    model = tiny(kind, **options)
    learner, lot = Learner(model), one_batch(examples, packing)
    assert (learner.head is not None) == splits
    learner.check_packing(32)
    expected = by_torch(model, examples)
    loss = learner.loss(*lot)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        gradients(model, loss), gradients(model, expected), rtol=1e-4, atol=1e-5
    )


def test_a_recurrent_model_refuses_packs(examples):
    model = tiny("mamba", state_size=4)
    batches = SupervisedBatches(examples, 2, 32, packing=True)
    with pytest.raises(ValueError, match="ne sait pas séparer.*packing=False"):
        finetune(model, batches, FinetuneConfig(steps=1))
    sliding = tiny("gemma2", sliding_window=8)
    with pytest.raises(ValueError, match="ne sait pas séparer.*packing=False"):
        finetune(sliding, batches, FinetuneConfig(steps=1))


def test_an_adapted_head(examples):
    """Une tête qui n’est plus une simple matrice sert telle quelle, sur les positions apprises."""
    model = get_peft_model(hugging(), LoraConfig(r=2, target_modules=["lm_head"]))
    learner = Learner(model)
    loss = learner.loss(*collate(examples))
    torch.testing.assert_close(loss, by_torch(model, examples), rtol=1e-5, atol=1e-6)
    assert all(g.isfinite().all() for g in gradients(model, loss))


@each_model
def test_bfloat16(make, examples):
    model = make()
    exact = by_torch(model, examples).item()
    config = FinetuneConfig(steps=2, precision="bfloat16", learning_rate=1e-3, warmup=0)
    first, second = finetune(model, SupervisedBatches(examples, 8, 32), config)
    assert first.loss == pytest.approx(exact, rel=2e-2) and first.loss != exact
    assert second.loss < first.loss
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_what_a_step_says(examples):
    model, batches = ours(), SupervisedBatches(examples, 4, 32)
    config = FinetuneConfig(steps=5, log_every=2, eval_every=4, learning_rate=1e-3)
    alone = [
        (s.loss, s.learned)
        for s in finetune(ours(), batches, FinetuneConfig(steps=5, learning_rate=1e-3))
    ]

    def evaluate(seen):
        assert seen is model and not model.training and not torch.is_grad_enabled()
        return {"perte": validation_loss(seen, batches)}

    steps = list(finetune(model, batches, config, evaluate))
    assert [s.step for s in steps] == [2, 4, 5]
    assert [s.evaluation is not None for s in steps] == [False, True, True]
    assert [s.learned for s in steps] == [alone[i][1] for i in (1, 3, 4)]
    counts = np.diff([0, *(learned for _, learned in alone)])
    expected = sum(alone[i][0] * counts[i] for i in (2, 3)) / sum(counts[2:4])
    assert steps[1].loss == pytest.approx(expected, rel=1e-6)
    assert steps[-1].epoch == 2.5 and steps[-1].tokens_per_s > 0


def test_epochs_and_own_optimizer(examples):
    batches = SupervisedBatches(examples, 3, 32)  # trois lots par époque
    assert FinetuneConfig().steps_for(batches) == 9
    assert FinetuneConfig(epochs=1, accumulate=2).steps_for(batches) == 2
    assert FinetuneConfig(epochs=0.01).steps_for(batches) == 1
    model = ours()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    config = FinetuneConfig(steps=1, schedule="inverse_sqrt", warmup=1, clip=None)
    list(finetune(model, batches, config, optimizer=optimizer))  # premier taux : zéro
    assert (
        all(map(torch.equal, before, model.parameters())) and optimizer.param_groups[0]["lr"] == 0.5
    )
    config = FinetuneConfig(steps=1, schedule="constant", warmup=0, clip=None)
    loss = by_torch(model, examples)
    wanted = [p - 0.5 * g for p, g in zip(before, gradients(model, loss), strict=True)]
    (step,) = finetune(model, SupervisedBatches(examples, 8, 32), config, optimizer=optimizer)
    assert step.learning_rate == 0.5
    torch.testing.assert_close(list(model.parameters()), wanted, rtol=1e-4, atol=1e-5)


@each_model
def test_validation_loss(make, examples):
    model, expected = make(), None
    model.train()
    for packing in (False, True):
        batches = SupervisedBatches(examples, 3, 32, packing=packing)
        expected = expected or by_torch(model, examples).item()
        assert validation_loss(model, batches) == pytest.approx(expected, rel=1e-5)
    assert model.training


def test_stops_on_nan_before_touching_weights(examples):
    model = ours()
    batches = SupervisedBatches(examples, 4, 32)
    steps = finetune(model, batches, FinetuneConfig(steps=9, learning_rate=1e-3))
    next(steps), next(steps)
    before = [p.detach().clone() for p in model.parameters()]
    model.norm.weight.register_hook(lambda g: g * math.nan)
    with pytest.raises(Diverged, match="pas 3 : le gradient vaut nan.*learning_rate=0.001") as stop:
        next(steps)
    assert stop.value.step == 3 and all(map(torch.equal, before, model.parameters()))
    broken = ours()
    with torch.no_grad():
        broken.blocks[1].ffn.down.weight[0, 0] = math.nan
    with pytest.raises(Diverged, match="pas 1 : la perte vaut nan.*blocks.1.ffn.down.weight"):
        list(finetune(broken, batches, FinetuneConfig(steps=2)))


@pytest.mark.parametrize("make", [ours, adapted], ids=["livre", "peft"])
def test_resumes_exactly(make, examples, tmp_path):
    config = FinetuneConfig(steps=6, learning_rate=1e-3, save_every=2, keep=0)
    batches = SupervisedBatches(examples, 3, 32)
    model = make()
    whole = list(finetune(model, batches, config, folder=tmp_path / "a"))
    assert [s.checkpoint is not None for s in whole] == [False, True] * 3
    killed = finetune(make(), batches, config, folder=tmp_path / "b")
    for _ in range(3):
        next(killed)
    again = make()
    rest = list(finetune(again, batches, config, folder=tmp_path / "b"))
    assert [(s.step, s.loss, s.learned) for s in rest] == [
        (s.step, s.loss, s.learned) for s in whole[2:]
    ]
    assert all(map(torch.equal, model.parameters(), again.parameters()))
    saved = (tmp_path / "b" / "step-000006" / "model.safetensors").stat().st_size
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert saved < 4 * learned + 10_000  # le modèle de base n’y est pas


def test_refuses_another_run(examples, tmp_path):
    config = FinetuneConfig(steps=2, learning_rate=1e-3)
    batches = SupervisedBatches(examples, 3, 32)
    list(finetune(ours(), batches, config, folder=tmp_path))
    model = ours()
    before = [p.detach().clone() for p in model.parameters()]
    for changes, match in (
        (
            dict(config=dataclasses.replace(config, learning_rate=1e-4)),
            "learning_rate : 0.001 → 0.0001",
        ),
        (dict(batches=SupervisedBatches(examples, 4, 32)), "batch_size : 3 → 4"),
        (dict(resume=False), "contient déjà step-000002"),
    ):
        arguments = dict(config=config, batches=batches) | changes
        with pytest.raises(ValueError, match=match):
            finetune(model, folder=tmp_path, **arguments)
    with pytest.raises(ValueError, match="reprenez avec le même adaptateur"):
        finetune(adapted(), batches, config, folder=tmp_path)
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(steps=3, epochs=1), "donnez l’un ou l’autre"),
        (dict(steps=0), "steps=0"),
        (dict(epochs=0), "epochs=0"),
        (dict(learning_rate=math.nan), "learning_rate=nan"),
        (dict(accumulate=0), "accumulate=0"),
        (dict(precision="float16"), "float32 ou bfloat16"),
        (dict(schedule="rapide"), "constant ou linear"),
        (dict(steps=3, warmup=4), "warmup=4"),
        (dict(warmup=-1), "warmup=-1"),
        (dict(floor=2.0), "floor=2.0"),
        (dict(weight_decay=-1), "weight_decay=-1"),
    ],
)
def test_bad_config(options, match):
    with pytest.raises(ValueError, match=match):
        FinetuneConfig(**options)


def test_bad_input(examples):
    batches, config = SupervisedBatches(examples, 4, 32), FinetuneConfig(steps=1)
    with pytest.raises(ValueError, match="aucun paramètre à apprendre"):
        finetune(ours().requires_grad_(False), batches, config)
    with pytest.raises(ValueError, match="embed.weight s’apprend en torch.bfloat16"):
        finetune(ours().bfloat16(), batches, config)
    with pytest.raises(ValueError, match="context=64 dépasse celui du modèle, 32 tokens"):
        finetune(ours(), SupervisedBatches(examples, 4, 64), config)
    with pytest.raises(ValueError, match="le vocabulaire va de 0 à 60"):
        wrong = SupervisedBatches([Example([1, 61], [False, True])], 1, 32)
        finetune(ours(), wrong, config)
    with pytest.raises(ValueError, match="des SupervisedBatches sont attendus"):
        finetune(ours(), examples, config)
    with pytest.raises(ValueError, match="warmup=9"):
        finetune(ours(), batches, FinetuneConfig(epochs=1, warmup=9))
    with pytest.raises(ValueError, match="AutoModelForCausalLM est attendu"):
        finetune(torch.nn.Linear(2, 2), batches, config)


# Égal à trl


def trainer(model, rows, tmp_path, **options):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=len(rows),
        max_length=128,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        **options,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = CHATML
    return SFTTrainer(
        model, arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


@pytest.mark.lent
@pytest.mark.parametrize("kind", ["assistant", "complétion", "paquets"])
def test_equal_trl(kind, tmp_path):
    """La perte et chaque gradient de SFTTrainer sur le même lot, à 1e-5."""
    from llmbook.batches_sft import encode_examples

    questions = ["Que fait len ?", "Trie une liste, puis affiche-la.", "x ?"]
    answers = ["`int` : le nombre d’éléments.", "Avec `sorted`.", "Une variable, peut-être."]
    prompts = [[{"role": "user", "content": q}] for q in questions]
    ends = [[{"role": "assistant", "content": a}] for a in answers]
    dialogues = [p + e for p, e in zip(prompts, ends, strict=True)]
    rows = [{"messages": d} for d in dialogues]
    options = dict(assistant_only_loss=True)
    if kind == "complétion":
        rows = [{"prompt": p, "completion": e} for p, e in zip(prompts, ends, strict=True)]
        options = dict(completion_only_loss=True)
    if kind == "paquets":
        options |= dict(packing=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    run = trainer(model, rows, tmp_path, **options)
    lot = run._prepare_inputs(next(iter(run.get_train_dataloader())))
    expected = run.compute_loss(model, lot)
    expected.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    examples = encode_examples(run.processing_class, dialogues, 128)
    if kind == "complétion":  # trl y apprend aussi le saut de ligne qui suit <|im_end|>
        examples = [
            Example(one.ids, one.mask | (np.arange(len(one)) == len(one) - 1)) for one in examples
        ]
    packing = kind == "paquets"
    ours_lot = SupervisedBatches(examples, 3, 128, packing=packing).at(0)
    loss = Learner(model).loss(*ours_lot)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], rtol=1e-4, atol=1e-5, msg=name)
    learned = int((ours_lot[1] != IGNORE).sum())
    assert learned == int((lot["labels"] != -100).sum())


@pytest.mark.lent
def test_three_steps_equal_trl(tmp_path):
    """Trois pas de SFTTrainer, accumulation comprise : les mêmes pertes, les mêmes poids."""
    from llmbook.batches_sft import encode_examples

    dialogues = [
        [
            {"role": "user", "content": f"Combien font {n} et {n} ?"},
            {"role": "assistant", "content": "Eh bien, " * (n % 4) + f"`{2 * n}`."},
        ]
        for n in range(12)
    ]
    model = transformers.AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    mine = copy.deepcopy(model)
    run = trainer(
        model,
        [{"messages": d} for d in dialogues],
        tmp_path,
        assistant_only_loss=True,
        max_steps=3,
        learning_rate=1e-4,
        lr_scheduler_type="linear",
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
    )
    run.args.per_device_train_batch_size = run._train_batch_size = 2
    run.args.gradient_accumulation_steps = run.accelerator.gradient_accumulation_steps = 2
    run.train()
    expected = [log["loss"] for log in run.state.log_history if "loss" in log]

    examples = encode_examples(run.processing_class, dialogues, 128)

    class InOrder:
        packing, per_epoch, context = False, 6, 128
        check_vocabulary = SupervisedBatches(examples, 2, 128).check_vocabulary

        def at(self, n):
            return collate(examples[2 * n : 2 * n + 2])

    config = FinetuneConfig(
        steps=3, accumulate=2, learning_rate=1e-4, schedule="linear", warmup=0, clip=1.0
    )
    losses = [step.loss for step in finetune(mine, InOrder(), config)]
    assert losses == pytest.approx(expected, abs=2e-4)
    for a, b in zip(mine.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)
    assert len(set(itertools.pairwise(losses))) == 2
