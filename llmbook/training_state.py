"""L’état d’un entraînement, du modèle vivant au point de reprise et retour.

Les tenseurs sont écrits entiers, même quand plusieurs processus s’en partagent les parts : un point
écrit à deux se reprend seul, et l’inverse.
"""

from dataclasses import asdict

import numpy as np
import torch

from llmbook.checkpoint import Checkpoint

FREE = ("compile", "eval_every", "keep", "log_every", "parallel", "save_every")  # sans effet


def collect(group, model, optimizers) -> tuple[dict, dict]:
    """(tenseurs par groupe, état JSON) : modèle, optimiseurs, générateurs de torch et de numpy."""
    names = {id(p): name for name, p in model.named_parameters()}
    weights = {name: group.whole(p.detach()) for name, p in model.named_parameters()}
    moments = {}
    for number, optimizer in enumerate(optimizers):
        for p, state in optimizer.state.items():
            for key, value in state.items():
                moments[f"{number}.{names[id(p)]}.{key}"] = group.whole(value)
    random = {"torch": torch.get_rng_state()}
    if model.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(model.device)
    algorithm, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    numpy_state = {
        "algorithm": algorithm,
        "keys": keys.tolist(),
        "position": int(position),
        "has_gauss": int(has_gauss),
        "gauss": float(gauss),
    }
    tensors = {"model": weights, "optimizer": moments, "random": random}
    return tensors, {"numpy": numpy_state, "torch_version": torch.__version__}


@torch.no_grad()
def load_weights(found: Checkpoint, model) -> None:
    """Donne au modèle, encore entier, les poids du point ; un poids partagé n’y est qu’une fois."""
    for name, p in model.named_parameters():
        p.copy_(found.tensors["model"][name])


def restore(found: Checkpoint, group, model, optimizers) -> None:
    """Remet optimiseurs et générateurs dans l’état du point ; `load_weights` a fait le modèle."""
    names = {id(p): name for name, p in model.named_parameters()}
    saved = found.tensors["optimizer"]
    for number, optimizer in enumerate(optimizers):
        for settings in optimizer.param_groups:
            for p in settings["params"]:
                prefix = f"{number}.{names[id(p)]}."
                keys = [name for name in saved if name.startswith(prefix)]
                state = {name.removeprefix(prefix): saved[name] for name in keys}
                on_cpu = {"step"} if not settings.get("fused") else set()
                optimizer.state[p] = {
                    key: value.clone() if key in on_cpu else group.share(value, p)
                    for key, value in state.items()
                }
    torch.set_rng_state(found.tensors["random"]["torch"])
    if model.device.type == "cuda" and "cuda" in found.tensors["random"]:
        torch.cuda.set_rng_state(found.tensors["random"]["cuda"], model.device)
    keep = found.state["numpy"]
    np.random.set_state(  # noqa: NPY002
        (keep["algorithm"], keep["keys"], keep["position"], keep["has_gauss"], keep["gauss"])
    )


def check_same_run(found: Checkpoint, model, config, batches) -> None:
    """ValueError si le point vient d’un autre modèle, d’autres réglages ou d’autres données."""
    for title, before, now in (
        ("modèle", found.state["model"], asdict(model.config)),
        ("réglages", found.state["config"], asdict(config)),
    ):
        changed = [
            f"{name} : {before.get(name)} → {now[name]}"
            for name in now
            if before.get(name) != now[name] and not (title == "réglages" and name in FREE)
        ]
        if changed:
            raise ValueError(
                f"{found.path} a été écrit par un autre entraînement ({title} : "
                f"{' ; '.join(changed)}). Reprenez avec les mêmes, ou donnez un autre dossier"
            )
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    held = {name: tuple(value.shape) for name, value in found.tensors["model"].items()}
    if expected != held:
        name = next(n for n in expected | held if expected.get(n) != held.get(n))
        raise ValueError(
            f"{found.path} : {name} y est de forme {held.get(name)}, le modèle attend "
            f"{expected.get(name)} ; ce point est celui d’un autre modèle"
        )
    batches.check_identity(found.state["batches"])
