"""Quand la perte n’est plus un nombre : quel pas, quelle couche, quels tokens, quoi essayer."""

import math

import torch


class Diverged(FloatingPointError):
    """La perte ou le gradient vaut nan ou inf ; les points déjà écrits sont intacts.

    step : pas fautif, à partir de 1 ; module : premier module dont la sortie n’est pas finie ;
    parameter : premier paramètre dont la valeur, sinon le gradient, ne l’est pas ; tokens : ceux du
    lot, (B, T). None si rien de tel n’a été trouvé.
    """

    def __init__(self, message, step, module=None, parameter=None, tokens=None):
        super().__init__(message)
        self.step, self.module, self.parameter, self.tokens = step, module, parameter, tokens


def diagnose(run, done: int, loss: float, norm: float, *, is_current: bool) -> Diverged:
    """L’erreur à lever pour le pas fait après `done` autres.

    is_current : les poids sont encore ceux de ce pas. Sinon (log_every > 1), il a déjà été appliqué.
    """
    step, accumulate = done + 1, run.config.accumulate
    what = "la perte" if not math.isfinite(loss) else "le gradient"
    value = loss if not math.isfinite(loss) else norm
    lines = [f"pas {step} : {what} vaut {value}, l’entraînement s’arrête."]
    parameter, where = first_bad_parameter(run)
    module = tokens = None
    for number in range(done * accumulate, step * accumulate):
        inputs, targets = (x.to(run.device) for x in run.batches.at(number))
        found = first_bad_module(run, inputs, targets)  # tous, même trouvé : FSDP y compte
        if tokens is None or (module is None and found is not None):
            module, tokens, guilty = found, inputs.cpu(), number
    if parameter is not None:
        lines.append(f"Premier paramètre atteint : {parameter} ({where}).")
    if module is not None:
        lines.append(f"Première sortie qui n’est pas finie : {module}.")
    extract = ", ".join(str(token) for token in tokens[0, :12].tolist())
    lines.append(f"Lot {guilty} : {tuple(tokens.shape)} tokens, qui commence par {extract}…")
    if not is_current:
        lines.append("Les poids ont avancé depuis : reprenez avec log_every=1 pour les voir avant.")
    if run.config.precision == "bfloat16":
        lines.append("Essayez precision='float32' : si tout va bien, la précision est en cause.")
    lines.append(
        f"Essayez aussi un taux plus petit (learning_rate={run.config.learning_rate}, "
        f"muon_lr={run.config.muon_lr}), un échauffement plus long (warmup={run.config.warmup}) ou "
        f"clip=1.0 (clip={run.config.clip}). Les points déjà écrits sont intacts."
    )
    return Diverged(" ".join(lines), step, module, parameter, tokens)


def check_weights(run) -> None:
    """`Diverged` si le dernier pas a fait d’un poids un nan ou un inf : il ne faut pas l’écrire."""
    parameter, where = first_bad_parameter(run)
    if parameter is not None:
        raise Diverged(
            f"pas {run.done} : {parameter} n’est plus fini ({where}) après la mise à jour ; le point "
            "n’est pas écrit. Essayez un taux plus petit. Les points déjà écrits sont intacts.",
            run.done,
            parameter=parameter,
        )


def first_bad_parameter(run) -> tuple[str | None, str]:
    """Premier paramètre, dans l’ordre du modèle, de valeur puis de gradient non finis."""
    named = [(name, p) for name, p in run.model.named_parameters()]
    for name, p in named:
        if not _finite(p.detach()):
            return name, "sa valeur"
    for name, p in named:
        if p.grad is not None and not _finite(p.grad):
            return name, "son gradient"
    return None, ""


@torch.no_grad()
def first_bad_module(run, inputs, targets) -> str | None:
    """Refait la passe avant en regardant chaque sortie, dans l’ordre du calcul."""
    found, handles = [], []
    for name, module in run.model.named_modules():

        def look(_module, _arguments, output, name=name):
            if not found and isinstance(output, torch.Tensor) and not _finite(output):
                found.append(name or "le modèle")

        handles.append(module.register_forward_hook(look))
    try:
        with run.autocast():
            loss = run.loss_module(inputs, targets)
        if not found and not _finite(loss):
            found.append("la perte (logits trop grands)")
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _finite(x: torch.Tensor) -> bool:
    if hasattr(x, "to_local"):  # FSDP : la part de ce processus
        x = x.to_local()
    return bool(torch.isfinite(x).all())
