"""Chapitres 11 à 13 : le temps d’un pas d’affinage, contre SFTTrainer de TRL.

models/nano, 16 exemples d’environ 120 tokens dont la moitié s’apprend, float32 : avant, arrière,
écrêtage, AdamW. Le modèle est le même des deux côtés (transformers, et l’adaptateur de peft) : seule
la boucle diffère. TRL a ses réglages ordinaires, sans recalcul des activations, qui le ralentirait
encore. Chaque concurrent part des mêmes poids et revoit le même lot : les pertes doivent être les
mêmes à 1 % près. Un tour fait quatre pas, et `trainer.train()` y paie son démarrage.

    python -m tools bench "Affiner"
"""

import functools

from tools.bench import ROOT, Contest, bench

STEPS, B, CONTEXT, RATE = 4, 16, 256, 1e-4
NANO = ROOT / "models" / "nano"
WORDS = "la fonction renvoie une liste triée dont chaque élément vient du module importé plus haut"


@functools.cache
def tokenizer():
    from transformers import AutoTokenizer

    from llmbook.chat_template import CHATML

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = CHATML
    return tokenizer


def dialogues():
    """Question et réponse d’une trentaine de mots, de longueurs inégales."""
    import numpy as np

    rng = np.random.default_rng(0)

    def text():
        return " ".join(rng.choice(WORDS.split(), rng.integers(24, 41)))

    return [
        [{"role": "user", "content": text()}, {"role": "assistant", "content": text()}]
        for _ in range(B)
    ]


def model(lora):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    learner = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    if not lora:
        return learner
    return get_peft_model(learner, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))


def ours(learner):
    """`llmbook.finetuning` : à chaque appel, STEPS pas de plus du même affinage."""
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import FinetuneConfig, finetune

    batches = SupervisedBatches(encode_examples(tokenizer(), dialogues(), CONTEXT), B, CONTEXT)
    config = FinetuneConfig(
        steps=100_000, learning_rate=RATE, schedule="constant", warmup=0, log_every=STEPS
    )
    steps = finetune(learner, batches, config)
    return lambda: next(steps).loss


def trl(learner):
    """SFTTrainer, sur les mêmes dialogues : à chaque appel, STEPS pas."""
    import tempfile

    from datasets import Dataset
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=tempfile.gettempdir(),
        max_steps=STEPS,
        per_device_train_batch_size=B,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_length=CONTEXT,
        assistant_only_loss=True,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    rows = Dataset.from_list([{"messages": dialogue} for dialogue in dialogues()])
    run = SFTTrainer(learner, arguments, train_dataset=rows, processing_class=tokenizer())
    run.remove_callback(PrinterCallback)
    return lambda: run.train().training_loss


def near(slow, fast):
    return abs(slow - fast) < 0.01 * slow


def against_trl(lora):
    return Contest(trl(model(lora)), ours(model(lora)), near)


for title, lora, threads in (
    ("LoRA de rang 8", True, 1),
    ("LoRA de rang 8", True, 2),
    ("tout le modèle", False, 2),
):
    bench(
        f"Affiner models/nano, {title}, 4 pas", "SFTTrainer de TRL", "llmbook.finetuning", threads
    )(functools.partial(against_trl, lora))
