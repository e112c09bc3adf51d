"""Chapitre 7 : tokens par seconde d’un pas d’entraînement complet, AdamW et bfloat16.

Le modèle a 3,4 M de paramètres ; un pas voit 16 suites de 256 tokens : avant, arrière, écrêtage,
optimiseur. Chaque concurrent part des mêmes poids et lit les mêmes lots ; les pertes moyennes des
premiers pas doivent être les mêmes à 1 % près. Mesuré sur deux fils :

    python -m tools bench "Entraîner"
"""

import itertools

from tools.bench import Contest, bench

STEPS, B, T, V = 4, 16, 256, 4096  # pas par tour, suites, tokens, vocabulaire
RATE, DECAY, BETAS = 1e-3, 0.1, (0.9, 0.95)


def model():
    import torch

    from llmbook.model import LanguageModel, ModelConfig

    torch.manual_seed(0)
    shape = dict(d_model=192, n_layers=6, n_heads=3, n_kv_heads=3, d_ff=512)
    return LanguageModel(ModelConfig(V, context=T, **shape))


def batches():
    """Une langue de Markov : chaque token en annonce 8, la perte a de quoi descendre."""
    import numpy as np

    from llmbook.batches import Batches

    rng = np.random.default_rng(0)
    tokens, followers = np.zeros(400_000, np.uint16), rng.integers(V, size=(V, 8))
    for position, choice in enumerate(rng.integers(8, size=len(tokens) - 1), 1):
        tokens[position] = followers[tokens[position - 1], choice]
    return Batches(tokens, B, T)


def groups(model):
    params = list(model.parameters())
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": DECAY},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]


def ours():
    """`llmbook.training`, compilé : à chaque appel, STEPS pas de plus du même entraînement."""
    from llmbook.training import TrainConfig, train

    config = TrainConfig(
        steps=100_000,
        batch_size=B,
        context=T,
        optimizer="adamw",
        learning_rate=RATE,
        weight_decay=DECAY,
        schedule="constant",
        warmup=0,
        compile=True,
        log_every=STEPS,
    )
    steps = train(model(), batches(), config)
    return lambda: next(steps).loss


def plain():
    """La boucle de nanoGPT : model compilé, autocast, F.cross_entropy, AdamW fused."""
    import torch
    import torch.nn.functional as F

    learner = model()
    compiled = torch.compile(learner)
    optimizer = torch.optim.AdamW(groups(learner), lr=RATE, betas=BETAS, fused=True)
    source = iter(batches())

    def steps():
        total = 0.0
        for inputs, targets in itertools.islice(source, STEPS):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(compiled(inputs).flatten(0, 1), targets.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item() / STEPS
        return total

    return steps


def trainer():
    """Hugging Face : LlamaForCausalLM de mêmes poids, Trainer avec ses réglages ordinaires."""
    import tempfile

    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    learner, source = model().to_hf(), batches()
    arguments = TrainingArguments(
        output_dir=tempfile.gettempdir(),
        max_steps=STEPS,
        per_device_train_batch_size=B,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=DECAY,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        optim="adamw_torch_fused",
        bf16=True,
        use_cpu=True,
        max_grad_norm=1.0,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )

    class Rows(torch.utils.data.IterableDataset):
        """Les mêmes suites ; shift_labels : les cibles, déjà décalées d’un token."""

        def __iter__(self):
            for inputs, targets in source:
                for row, target in zip(inputs, targets, strict=True):
                    yield {"input_ids": row, "labels": row, "shift_labels": target}

    class KeepMoments(TrainerCallback):
        """Un Trainer neuf par tour, sans oublier les moments d’AdamW du tour d’avant."""

        saved = None

        def on_train_begin(self, *_, optimizer=None, **__):
            if self.saved:
                optimizer.load_state_dict(self.saved)

        def on_train_end(self, *_, optimizer=None, **__):
            self.saved = optimizer.state_dict()

    keep = KeepMoments()

    def steps():
        run = Trainer(learner, arguments, train_dataset=Rows(), callbacks=[keep])
        run.remove_callback(PrinterCallback)
        position = source.position
        loss = run.train().training_loss
        source.position = position + STEPS  # le chargeur lit d’avance
        return loss

    return steps


def near(slow, fast):
    return abs(slow - fast) < 0.01 * slow


@bench("Entraîner 3,4 M de paramètres, 4 pas", "Trainer de Hugging Face", "llmbook.training", 2)
def against_trainer():
    return Contest(trainer(), ours(), near)


@bench("Entraîner 3,4 M de paramètres, 4 pas", "boucle compilée de nanoGPT", "llmbook.training", 2)
def against_plain_loop():
    return Contest(plain(), ours(), near)
