"""La boucle d’entraînement : un générateur qui rend ce qu’il voit.

    for step in train(model, tokens, TrainConfig(steps=1000), folder="essai"):
        print(step.step, step.loss)

Les poids restent en float32 ; en bfloat16, seuls les produits de la passe avant et arrière changent
de type (précision mixte). Le périphérique est celui du modèle : CPU et carte, même appel. Avec
`folder`, l’entraînement tué à tout instant reprend au dernier point, aux mêmes pertes bit à bit sur
la même machine et le même nombre de fils. Sous torchrun, voir `llmbook.training_parallel`.

compile=True demande un compilateur C++ sur CPU, et une minute ou deux avant le premier pas. Les
passages y prennent aussi l’attention par bandes (`llmbook.attention_bands`), si context ≤ 512.
"""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from llmbook import checkpoint
from llmbook.attention_bands import banded
from llmbook.batches import Batches
from llmbook.losses import chunked_cross_entropy
from llmbook.model import LanguageModel
from llmbook.optim import build_optimizers
from llmbook.training_config import TrainConfig
from llmbook.training_diagnosis import Diverged, check_weights, diagnose
from llmbook.training_parallel import Alone, team
from llmbook.training_state import check_same_run, collect, load_weights, restore

__all__ = ["Diverged", "Step", "TrainConfig", "train"]


@dataclass(frozen=True)
class Step:
    """Ce que la boucle a vu depuis le `Step` précédent.

    step : pas faits ; tokens : tokens vus depuis le début ; loss : perte moyenne, en nats par
    token ; bits_per_byte : None si `bytes_per_token` n’est pas donné ; grad_norm : norme du
    gradient avant écrêtage, au dernier pas ; tokens_per_s : débit, ni évaluation ni
    enregistrement compris ; eval_loss : ce que renvoie `evaluate` ; checkpoint : point écrit.
    """

    step: int
    tokens: int
    loss: float
    bits_per_byte: float | None
    grad_norm: float
    learning_rate: float
    tokens_per_s: float
    eval_loss: float | None = None
    checkpoint: Path | None = None


def train(
    model: LanguageModel,
    batches: Batches | np.ndarray,
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    evaluate: Callable[[LanguageModel], float] | None = None,
    bytes_per_token: float | None = None,
    resume: bool = True,
) -> Iterator[Step]:
    """Entraîne `model` sur place ; renvoie un itérateur de `Step`.

    batches : tableau plat de tokens, ou `Batches` de mêmes tailles que config. evaluate : appelée
    sur le modèle en mode évaluation, sans gradient. bytes_per_token : octets de texte par token du
    corpus, pour compter en bits par octet. folder : où écrire les points de reprise ; s’il en
    contient et que resume est vrai, le dernier entier est repris. Les lots sont pris par leur
    numéro, depuis le premier : `batches.position` n’y change rien.

    ValueError, avant le premier pas, si une entrée ne va pas ; `Diverged` si la perte ou le
    gradient n’est plus un nombre ; OSError si un point ne peut pas être écrit.
    """
    group = team(config.parallel)
    batches = _checked(model, batches, config, group, bytes_per_token)
    found = checkpoint.latest(folder) if folder is not None else None
    if found is not None and not resume:
        raise ValueError(
            f"{folder} contient déjà {found.path.name} : donnez un autre dossier, ou resume=True"
        )
    if found is not None:
        check_same_run(found, model, config, batches)
        load_weights(found, model)
    run = Run(model, batches, config, group)
    if found is not None:
        restore(found, run.group, run.model, run.optimizers)
        run.done = found.step
    return run.loop(Path(folder) if folder is not None else None, evaluate, bytes_per_token)


class Run:
    """Un entraînement en cours : le modèle, ses optimiseurs, et le nombre de pas faits."""

    def __init__(self, model, batches: Batches, config: TrainConfig, group: Alone):
        self.model, self.batches, self.config, self.group = model, batches, config, group
        self.device, self.done = model.device, 0
        self.loss_module = group.wrap(LossOf(model))
        self.optimizers = group.optimizers(model, config, build_optimizers)
        self.loss_of = self.loss_module
        if config.compile:
            self.loss_of = torch.compile(self.loss_module, dynamic=False)
        short = config.context <= 512 and model.config.window is None  # banded garde T² nombres
        self.attend = banded if config.compile and short and self.device.type == "cpu" else None
        self.params = [p for p in model.parameters() if p.requires_grad]

    def loop(self, folder, evaluate, bytes_per_token) -> Iterator[Step]:
        config, per_step = self.config, self.batches.batch_size * self.batches.context
        per_step *= config.accumulate
        first = self.done * config.accumulate
        source = prefetched(self.batches, first, self.device)
        seen, clock = [], time.perf_counter()  # (perte, norme) des pas pas encore lus
        self.model.train()
        with contextlib.closing(source):
            while self.done < config.steps:
                must_check = self._due(config.log_every) or self._due(config.save_every)
                must_check |= evaluate is not None and self._due(config.eval_every)
                factor = config.factor(self.done)
                with _matmul_precision(self.device):
                    seen.append((self.gradient(source), self.clip()))
                    if must_check:  # avant de toucher aux poids ; lire attend la carte
                        losses, norms = self._read(seen)
                        seen = []
                    self.update(factor)
                self.done += 1
                if not must_check:
                    continue
                elapsed, count = time.perf_counter() - clock, len(losses)
                loss = sum(losses) / count
                step = Step(
                    step=self.done,
                    tokens=self.done * per_step,
                    loss=loss,
                    bits_per_byte=loss / math.log(2) / bytes_per_token if bytes_per_token else None,
                    grad_norm=norms[-1],
                    learning_rate=config.learning_rate * factor,
                    tokens_per_s=count * per_step / elapsed,
                )
                if evaluate is not None and self._due(config.eval_every, done=self.done):
                    step = replace(step, eval_loss=self.evaluated(evaluate))
                if folder is not None and self._due(config.save_every, done=self.done):
                    step = replace(step, checkpoint=self.save(folder))
                yield step
                clock = time.perf_counter()

    def gradient(self, source) -> Tensor:
        """Les passages avant et arrière d’un pas ; renvoie la perte moyenne, sans l’attendre."""
        total = torch.zeros((), device=self.device)
        for passage in range(self.config.accumulate):
            inputs, targets = next(source)
            last = passage == self.config.accumulate - 1
            with self.group.synchronised(self.loss_module, last):
                with self.autocast(), attending(self.model, self.attend):
                    loss = self.loss_of(inputs, targets)
                (loss / self.config.accumulate).backward()
            total += loss.detach() / self.config.accumulate
        return self.group.mean(total)

    def clip(self) -> Tensor:
        limit = self.config.clip if self.config.clip is not None else math.inf
        norm = nn.utils.clip_grad_norm_(self.params, limit)
        return self.group.whole(norm)

    def update(self, factor: float) -> None:
        for optimizer in self.optimizers:
            for settings in optimizer.param_groups:
                settings["lr"] = settings["base_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def evaluated(self, evaluate) -> float:
        self.model.eval()
        with torch.no_grad(), self.group.gathered(self.loss_module):
            value = float(evaluate(self.model))
        self.model.train()
        return value

    def save(self, folder: Path) -> Path:
        check_weights(self)
        tensors, state = collect(self.group, self.model, self.optimizers)
        state |= {
            "config": asdict(self.config),
            "model": asdict(self.model.config),
            "batches": self.batches.identity(),
        }

        def write() -> Path:
            return checkpoint.save(folder, self.done, tensors, state, keep=self.config.keep)

        return self.group.first_only(write)

    def autocast(self):
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _due(self, every: int, done: int | None = None) -> bool:
        done = self.done + 1 if done is None else done
        return done == self.config.steps or bool(every and done % every == 0)

    def _read(self, seen: list[tuple[Tensor, Tensor]]) -> tuple[list[float], list[float]]:
        """Pertes et normes des pas depuis la dernière lecture ; `Diverged` si l’une est nan."""
        values = torch.stack([torch.stack([a.float(), b.float()]) for a, b in seen]).tolist()
        for back, (loss, norm) in zip(range(len(seen) - 1, -1, -1), values, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise diagnose(self, self.done - back, loss, norm, is_current=back == 0)
        losses, norms = zip(*values, strict=True)
        return list(losses), list(norms)


@contextlib.contextmanager
def attending(model: LanguageModel, kernel: Callable | None):
    """Le temps d’un passage, remplace l’attention de chaque couche par `kernel`."""
    layers = [block.attention for block in model.blocks] if kernel else []
    for layer in layers:
        layer.attend = kernel
    try:
        yield
    finally:
        for layer in layers:
            del layer.attend


class LossOf(nn.Module):
    """La perte d’un lot, comme un module : ce que DDP, FSDP et torch.compile savent envelopper."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return chunked_cross_entropy(self.model.hidden(inputs), self.model.lm_head.weight, targets)


def prefetched(
    batches: Batches, first: int, device: torch.device, thread: bool | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """Les lots depuis le numéro `first`, sur `device` ; un fil en prépare d’avance pour une carte."""
    on_card = device.type == "cuda"
    if not (on_card if thread is None else thread):
        while True:
            yield tuple(x.to(device) for x in batches.at(first))
            first += 1
    ready, stop = queue.Queue(maxsize=4), threading.Event()

    def prepare():
        number = first
        while not stop.is_set():
            try:
                item = batches.at(number)
                item = tuple(x.pin_memory() for x in item) if on_card else item
            except Exception as error:  # rendue à la boucle, qui la lève
                item = error
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.1)
                    break
            number += 1

    threading.Thread(target=prepare, daemon=True).start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield tuple(x.to(device, non_blocking=True) for x in item)
    finally:
        stop.set()


@contextlib.contextmanager
def _matmul_precision(device: torch.device):
    """Sur une carte, les produits float32 passent par TF32, le temps d’un pas."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _checked(model, batches, config: TrainConfig, group, bytes_per_token) -> Batches:
    """Les lots de ce processus, si le modèle, les données et les réglages vont ensemble."""
    device = model.device
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"périphérique « {device} » : entraînez sur cpu, cuda ou mps")
    if model.dtype != torch.float32:
        raise ValueError(
            f"poids en {model.dtype} : l’entraînement les garde en float32 (model.float()), et "
            "precision choisit le type des calculs"
        )
    if config.precision == "bfloat16" and device.type == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ValueError("cette carte n’a pas de bfloat16 : prenez precision='float32'")
    if config.context > model.config.context:
        raise ValueError(
            f"context={config.context} dépasse celui du modèle, {model.config.context} tokens"
        )
    if bytes_per_token is not None and not bytes_per_token > 0:
        raise ValueError(f"bytes_per_token={bytes_per_token} : un nombre positif est attendu")
    if not hasattr(batches, "at"):
        batches = Batches(
            batches,
            config.batch_size,
            config.context,
            seed=config.seed,
            rank=group.rank,
            world_size=group.size,
        )
    if (batches.batch_size, batches.context) != (config.batch_size, config.context):
        raise ValueError(
            f"lots de {batches.batch_size} × {batches.context}, réglages de {config.batch_size} × "
            f"{config.context} : donnez à TrainConfig les tailles des lots"
        )
    if (batches.rank, batches.world_size) != (group.rank, group.size):
        raise ValueError(
            f"lots du rang {batches.rank} sur {batches.world_size}, dans le processus {group.rank} "
            f"sur {group.size} : donnez à train le tableau de tokens, il fera le partage"
        )
    batches.check_vocabulary(model.config.vocab_size)
    return batches
