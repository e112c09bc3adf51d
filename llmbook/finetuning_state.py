"""Reprendre un affinage : un point ne garde que ce qui s’apprend.

Pour un adaptateur de 40 000 paramètres sur un modèle de 7 milliards, un point pèse donc moins d’un
mégaoctet : ses poids, les deux moments d’AdamW, le générateur de l’abandon aléatoire (*dropout*).
"""

import json
from dataclasses import asdict
from pathlib import Path

from llmbook import checkpoint
from llmbook.training_parallel import Alone
from llmbook.training_state import collect, load_weights, restore

FREE = ("eval_every", "keep", "log_every", "save_every", "gradient_checkpointing")  # sans effet


class Trainable:
    """Ce que `llmbook.training_state` demande à un modèle, restreint aux paramètres appris."""

    def __init__(self, model):
        self.params = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.device = self.params[0][1].device

    def named_parameters(self):
        return iter(self.params)


def save(folder, done: int, learned: int, model, optimizers, config, batches) -> Path:
    """Écrit un point après `done` pas et `learned` tokens appris ; renvoie son chemin."""
    tensors, state = collect(Alone(), Trainable(model), optimizers)
    state |= {
        "affinage": asdict(config),
        "learned": learned,
        "batches": batches.identity(),
    }
    return checkpoint.save(folder, done, tensors, state, keep=config.keep)


def resume(folder, model, optimizers, config, batches, allowed: bool) -> tuple[int, int]:
    """Remet tout dans l’état du dernier point : (pas faits, tokens appris), (0, 0) sans point.

    ValueError, rien n’ayant changé, si le point vient d’un autre affinage ou si allowed est faux.
    """
    found = checkpoint.latest(folder)
    if found is None:
        return 0, 0
    if not allowed:
        raise ValueError(
            f"{folder} contient déjà {found.path.name} : donnez un autre dossier, ou resume=True"
        )
    learned = Trainable(model)
    _check(found, learned, config, batches)
    load_weights(found, learned)
    restore(found, Alone(), learned, optimizers)
    return found.step, found.state["learned"]


def _check(found, learned: Trainable, config, batches) -> None:
    before = found.state.get("affinage")
    if before is None:
        raise ValueError(f"{found.path} n’est pas le point d’un affinage : donnez un autre dossier")
    now = json.loads(json.dumps(asdict(config)))
    changed = [
        f"{name} : {before.get(name)} → {now[name]}"
        for name in now
        if before.get(name) != now[name] and name not in FREE
    ]
    if changed:
        raise ValueError(
            f"{found.path} a été écrit avec d’autres réglages ({' ; '.join(changed)}). Reprenez avec "
            "les mêmes, ou donnez un autre dossier"
        )
    expected = {name: tuple(p.shape) for name, p in learned.named_parameters()}
    held = {name: tuple(value.shape) for name, value in found.tensors["model"].items()}
    if expected != held:
        name = next(n for n in expected | held if expected.get(n) != held.get(n))
        raise ValueError(
            f"{found.path} : {name} y est de forme {held.get(name)}, ce modèle en apprend "
            f"{expected.get(name)} ; reprenez avec le même adaptateur"
        )
    batches.check_identity(found.state["batches"])
