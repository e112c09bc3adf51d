"""Plusieurs processus, une seule suite de pertes : DDP et FSDP2.

    torchrun --nproc-per-node 2 mon_script.py

Chaque processus lit sa part de chaque lot ; les gradients sont moyennés. DDP garde le modèle entier
partout ; FSDP2 n’en garde qu’une part par processus, et rassemble chaque couche au moment de s’en
servir. Les pertes sont celles d’un seul processus, aux arrondis de l’ordre des sommes près.

Muon a besoin de matrices entières. Sous FSDP2, chaque processus rassemble donc les matrices cachées,
leur gradient et leur inertie, fait le même pas qu’un seul, et n’en garde que sa part : c’est juste et
simple, mais chacun refait tout le calcul de Muon. AdamW, lui, travaille sur les parts.
"""

import contextlib
import functools
import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate

from llmbook.optim import Muon


def start(backend: str | None = None) -> torch.device:
    """Rejoint les autres processus de torchrun ; renvoie le périphérique de celui-ci.

    backend : "nccl" s’il y a une carte, "gloo" sinon. ValueError hors de torchrun.
    """
    if "RANK" not in os.environ:
        raise ValueError("lancez ce script par torchrun --nproc-per-node N, pas par python")
    on_card = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_card else torch.device("cpu")
    if on_card:
        torch.cuda.set_device(device)
    dist.init_process_group(backend or ("nccl" if on_card else "gloo"))
    return device


def team(parallel: str) -> "Alone":
    """Comment ce processus travaille avec les autres, s’il y en a."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return Alone()
    return Sharded() if parallel == "fsdp" else Replicated()


class Alone:
    """Un seul processus : rien à partager."""

    rank, size = 0, 1

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def optimizers(self, model, config, build) -> list[torch.optim.Optimizer]:
        return build(
            model,
            kind=config.optimizer,
            learning_rate=config.learning_rate,
            muon_lr=config.muon_lr,
            weight_decay=config.weight_decay,
            fused=model.device.type != "mps",
        )

    def synchronised(self, module: nn.Module, last: bool):
        """Où faire un passage : les gradients ne se moyennent qu’au dernier du pas."""
        return contextlib.nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        return value

    def whole(self, value: Tensor) -> Tensor:
        """Le tenseur entier, dont chacun n’a peut-être qu’une part."""
        return value

    def share(self, value: Tensor, like: Tensor) -> Tensor:
        """La part de ce processus d’un tenseur entier, rangée comme `like`."""
        return value.to(like.device, copy=True)

    def gathered(self, module: nn.Module):
        """Où se servir du modèle hors de `module` : chacun y a tous les poids."""
        return contextlib.nullcontext()

    def first_only(self, action):
        """Un seul processus agit ; tous reçoivent son résultat, ou lèvent son erreur."""
        return action()


class Replicated(Alone):
    """DDP : le modèle entier partout, les gradients moyennés."""

    def __init__(self):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def wrap(self, module):
        return nn.parallel.DistributedDataParallel(module)

    def synchronised(self, module, last):
        return contextlib.nullcontext() if last else module.no_sync()

    def mean(self, value):
        dist.all_reduce(value)
        return value / self.size

    def first_only(self, action):
        result = [None]
        if self.rank == 0:
            try:
                result = [action()]
            except Exception as error:
                result = [error]
        dist.broadcast_object_list(result)
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]


class Sharded(Replicated):
    """FSDP2 : une part de chaque paramètre, et de son état, par processus."""

    def wrap(self, module):
        from torch.distributed.fsdp import fully_shard

        for p in module.parameters():
            dist.broadcast(p.data, 0)  # DDP le fait, FSDP non
        mesh = init_device_mesh(module.model.device.type, (self.size,))
        for block in module.model.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(module, mesh=mesh)

    def optimizers(self, model, config, build):
        built = super().optimizers(model, config, build)
        for optimizer in built:
            if isinstance(optimizer, Muon):
                optimizer.update = functools.partial(gathered_update, optimizer)
        return built

    def synchronised(self, module, last):
        module.set_requires_gradient_sync(last)
        return contextlib.nullcontext()

    def whole(self, value):
        return value.full_tensor() if isinstance(value, DTensor) else value

    def share(self, value, like):
        value = value.to(like.device, copy=True)
        return _shared(value, like) if value.ndim else value

    @contextlib.contextmanager
    def gathered(self, module):
        module.unshard()
        try:
            yield
        finally:
            module.reshard()


def gathered_update(muon: Muon, group: dict, params: list[Tensor]) -> None:
    """Le pas de Muon sur des matrices rassemblées, dont chacun ne garde que sa part."""
    wholes = []
    for p in params:
        whole = nn.Parameter(p.full_tensor())
        whole.grad = p.grad.full_tensor()
        if p in muon.state:
            muon.state[whole] = {k: v.full_tensor() for k, v in muon.state[p].items()}
        wholes.append(whole)
    Muon.update(muon, group, wholes)
    for p, whole in zip(params, wholes, strict=True):
        p.copy_(_shared(whole.detach(), p))
        muon.state[p] = {k: _shared(v, p) for k, v in muon.state.pop(whole).items()}


def _shared(value: Tensor, like: DTensor) -> DTensor:
    """Un tenseur que chacun a en entier, coupé comme `like`."""
    everywhere = [Replicate()] * like.device_mesh.ndim
    whole = DTensor.from_local(value, like.device_mesh, everywhere, run_check=False)
    return whole.redistribute(placements=like.placements)
