"""L’affinage (*fine-tuning*) : la boucle supervisée, un générateur qui rend ce qu’il voit.

    batches = SupervisedBatches(encode_examples(tokenizer, dialogues, 1024), 16, 1024)
    for step in finetune(model, batches, FinetuneConfig(epochs=2)):
        print(step.step, step.loss)

Seuls les paramètres de requires_grad vrai changent : tous, ou ceux d’un adaptateur. La perte d’un
pas est la moyenne sur tous ses tokens appris, accumulation comprise. Moyenner les moyennes des lots
donnerait à un token d’une réponse courte plus de poids qu’à celui d’une longue.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from llmbook import finetuning_state
from llmbook.batches_sft import SupervisedBatches
from llmbook.finetuning_config import FinetuneConfig
from llmbook.finetuning_loss import Learner, evaluating
from llmbook.losses import IGNORE
from llmbook.optim import build_optimizers
from llmbook.training_diagnosis import Diverged

__all__ = ["Diverged", "FinetuneConfig", "FinetuneStep", "finetune", "validation_loss"]


@dataclass(frozen=True)
class FinetuneStep:
    """Ce que la boucle a vu depuis le `FinetuneStep` précédent.

    step : pas faits, sur `steps` ; epoch : époques faites ; loss : perte moyenne, en nats par token
    appris ; grad_norm : norme du gradient avant écrêtage, au dernier pas ; learned : tokens appris
    depuis le début ; tokens_per_s : tokens appris par seconde, évaluation non comprise ;
    evaluation : ce que renvoie `evaluate` ; checkpoint : point écrit.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    learned: int
    tokens_per_s: float
    evaluation: object = None
    checkpoint: Path | None = None


def finetune(
    model: nn.Module,
    batches: SupervisedBatches,
    config: FinetuneConfig,
    evaluate: Callable[[nn.Module], object] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    folder: str | Path | None = None,
    resume: bool = True,
) -> Iterator[FinetuneStep]:
    """Affine `model` sur place ; renvoie un itérateur de `FinetuneStep`.

    model : `LanguageModel` ou AutoModelForCausalLM, sur CPU ou sur une carte. evaluate : appelée
    sur le modèle en mode évaluation, sans gradient. optimizer : à la place d’AdamW ; son taux est
    celui de ses groupes, multiplié par la planification. folder : où écrire les points de reprise ;
    s’il en contient et que resume est vrai, le dernier entier est repris, aux mêmes pertes bit à bit.
    Un point ne garde que les paramètres appris : repartez du même modèle de base. Les lots sont
    pris par leur numéro, depuis le premier.

    ValueError, avant le premier pas, si une entrée ne va pas ; `Diverged` si la perte ou le
    gradient n’est plus un nombre : avec log_every=1, les poids sont ceux d’avant ce pas.
    """
    learner = _checked(model, batches, config)
    optimizers = [optimizer]
    if optimizer is None:
        optimizers = build_optimizers(
            model,
            kind="adamw",
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=config.betas,
            fused=learner.device.type in ("cpu", "cuda"),
        )
    for group in optimizers[0].param_groups:
        group["base_lr"] = group["lr"]
    start = 0, 0
    if folder is not None:
        start = finetuning_state.resume(folder, model, optimizers, config, batches, resume)
    return _loop(learner, batches, config, evaluate, optimizers, folder, start)


def _loop(learner, batches, config, evaluate, optimizers, folder, start) -> Iterator[FinetuneStep]:
    model, steps = learner.model, config.steps_for(batches)
    params, (optimizer,) = [p for p in model.parameters() if p.requires_grad], optimizers
    first_step, learned = start
    seen, clock = [], time.perf_counter()  # (perte, norme, tokens) des pas pas encore lus
    model.zero_grad(set_to_none=True)
    for done in range(first_step, steps):
        first, factor = done * config.accumulate, config.factor(done, steps)
        model.train()
        loss, count = _gradient(learner, batches, first, config)
        norm = nn.utils.clip_grad_norm_(params, config.clip or math.inf)
        seen.append((loss, norm, count))
        must_evaluate = evaluate is not None and _due(done + 1, steps, config.eval_every)
        must_save = folder is not None and _due(done + 1, steps, config.save_every)
        must_read = must_evaluate or must_save or _due(done + 1, steps, config.log_every)
        if must_read:  # avant de toucher aux poids ; lire attend la carte
            losses, norms, counts = _read(seen, done, model, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"]  # un optimiseur donné ressort avec son taux
        optimizer.zero_grad(set_to_none=True)
        model.eval()  # entre deux pas, on peut s’en servir
        learned += count
        if not must_read:
            continue
        elapsed = time.perf_counter() - clock
        value = path = None
        if must_evaluate:
            with torch.no_grad():
                value = evaluate(model)
        if must_save:
            path = finetuning_state.save(
                folder, done + 1, learned, model, optimizers, config, batches
            )
        yield FinetuneStep(
            step=done + 1,
            steps=steps,
            epoch=(first + config.accumulate) / batches.per_epoch,
            loss=sum(a * n for a, n in zip(losses, counts, strict=True)) / sum(counts),
            grad_norm=norms[-1],
            learning_rate=optimizer.param_groups[0]["base_lr"] * factor,
            learned=learned,
            tokens_per_s=sum(counts) / elapsed,
            evaluation=value,
            checkpoint=path,
        )
        seen, clock = [], time.perf_counter()


def _gradient(learner: Learner, batches, first: int, config) -> tuple[Tensor, int]:
    """Passes avant et arrière d’un pas : (perte moyenne par token appris, nombre de ceux-ci)."""
    lots = [batches.at(number) for number in range(first, first + config.accumulate)]
    counts = [int((targets != IGNORE).sum()) for _, targets, *_ in lots]
    device, total = learner.device, torch.zeros((), device=learner.device)
    recomputing = learner.recomputing() if config.gradient_checkpointing else _nothing()
    with recomputing:
        for lot, count in zip(lots, counts, strict=True):
            lot = [x.to(device, non_blocking=True) for x in lot]
            with learner.alone(lot[2] if len(lot) > 2 else None):
                with _autocast(device, config.precision):
                    loss = learner.loss(*lot) * (count / sum(counts))
                loss.backward()
            total += loss.detach()
    return total, sum(counts)


def validation_loss(
    model: nn.Module, batches: SupervisedBatches, precision: str = "float32"
) -> float:
    """Perte moyenne, en nats par token appris, sur une époque de `batches` ; sans gradient."""
    learner, total, learned = Learner(model), 0.0, 0
    with torch.no_grad(), evaluating(model):
        for number in range(batches.per_epoch):
            lot = [x.to(learner.device) for x in batches.at(number)]
            count = int((lot[1] != IGNORE).sum())
            with learner.alone(lot[2] if len(lot) > 2 else None):
                with _autocast(learner.device, precision):
                    total += float(learner.loss(*lot)) * count
            learned += count
    return total / learned


_nothing = contextlib.nullcontext


def _autocast(device: torch.device, precision: str):
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _due(done: int, steps: int, every: int) -> bool:
    return done == steps or bool(every and done % every == 0)


def _read(seen, done: int, model, config) -> tuple[list[float], list[float], list[int]]:
    """Pertes, normes et tokens appris depuis la dernière lecture ; `Diverged` si l’un est nan."""
    losses, norms, counts = zip(*seen, strict=True)
    losses, norms = (torch.stack([x.float() for x in xs]).tolist() for xs in (losses, norms))
    for step, loss, norm in zip(range(done + 2 - len(seen), done + 2), losses, norms, strict=True):
        if math.isfinite(loss) and math.isfinite(norm):
            continue
        what = f"la perte vaut {loss}" if not math.isfinite(loss) else f"le gradient vaut {norm}"
        named = model.named_parameters()
        bad = next((name for name, p in named if not torch.isfinite(p.detach()).all()), None)
        raise Diverged(
            f"pas {step} : {what}, l’affinage s’arrête. "
            + (f"Le poids {bad} n’est pas fini. " if bad else "")
            + f"Essayez un taux plus petit (learning_rate={config.learning_rate}), un échauffement "
            f"plus long, clip=1.0 (clip={config.clip}) ou precision='float32' "
            f"(precision={config.precision!r}).",
            step,
            parameter=bad,
        )
    return losses, norms, list(counts)


def _checked(model, batches, config) -> Learner:
    """Le modèle, prêt, si lui, les lots et les réglages vont ensemble."""
    params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not params:
        raise ValueError(
            "aucun paramètre à apprendre : requires_grad est faux partout ; ajoutez un adaptateur "
            "(llmbook.lora) ou model.requires_grad_(True)"
        )
    small = next((name for name, p in params if p.dtype != torch.float32), None)
    if small is not None:
        raise ValueError(
            f"{small} s’apprend en {model.get_parameter(small).dtype} : un petit pas s’y arrondit à "
            "rien. Chargez le modèle avec dtype=torch.float32 ; precision='bfloat16' accélère les "
            "calculs sans toucher aux poids"
        )
    device = params[0][1].device
    if config.precision == "bfloat16" and device.type == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError("cette carte n’a pas de bfloat16 : prenez precision='float32'")
    if not hasattr(batches, "at"):
        raise ValueError("batches : des SupervisedBatches sont attendus")
    learner = Learner(model)
    if learner.context is not None and batches.context > learner.context:
        raise ValueError(
            f"context={batches.context} dépasse celui du modèle, {learner.context} tokens"
        )
    batches.check_vocabulary(learner.vocab_size)
    config.factor(0, config.steps_for(batches))  # un échauffement plus long que l’affinage
    if batches.packing:
        learner.check_packing(batches.context)
    return learner
