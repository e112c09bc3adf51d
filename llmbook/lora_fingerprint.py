"""L’empreinte du modèle sous un adaptateur : ne pas poser une correction sur d’autres poids."""

from hashlib import blake2b

import torch
from torch import Tensor, nn

from llmbook import hf_weights
from llmbook.lora_layers import LoraLinear
from llmbook.lora_tokens import RowsEmbedding, RowsHead
from llmbook.model import LanguageModel

SAMPLE = 4096  # valeurs lues par tenseur : 2 à 3 Mo pour un modèle de 7 milliards de paramètres


def base_weights(model: nn.Module) -> dict[str, Tensor]:
    """Les poids flottants de la base, sous leurs noms d’avant LoRA, ceux de Hugging Face."""
    state, name_of = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear | RowsEmbedding | RowsHead):
            name_of[f"{name}.base"] = name
        for kind in ("weight", "bias"):
            parameter = module._parameters.get(kind)
            if parameter is not None and parameter.is_floating_point():
                state[f"{name_of.get(name, name)}.{kind}"] = parameter.detach()
    if isinstance(model, LanguageModel):
        state = hf_weights.to_hf_names(state, model.config)
    config = getattr(model, "config", None)
    if getattr(config, "tie_embeddings", getattr(config, "tie_word_embeddings", False)):
        state.pop("lm_head.weight", None)  # le même tenseur que les plongements
    return state


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Nom de tenseur -> empreinte de valeurs prises à intervalles réguliers, arrondies en bf16.

    La même pour un modèle en float32 et sa copie en bf16, pour un `LanguageModel` et son double de
    transformers. Les matrices quantifiées n’en ont pas : seul le reste de la base est comparé.
    """
    prints = {}
    for name, weight in base_weights(model).items():
        flat = weight.reshape(-1)
        sample = flat[:: max(1, flat.numel() // SAMPLE)].to("cpu", torch.bfloat16)
        values = sample.contiguous().view(torch.int16).numpy().tobytes()
        prints[name] = blake2b(values, digest_size=4).hexdigest()
    return prints


def check_same_base(theirs: dict[str, str], model: nn.Module) -> None:
    """ValueError si l’empreinte de la base d’un adaptateur n’est pas celle de ce modèle."""
    ours = fingerprint(model)
    known = theirs.keys() & ours.keys()
    changed = sorted(name for name in known if theirs[name] != ours[name])
    if not known:
        raise ValueError("aucun tenseur en commun : cet adaptateur est celui d’un autre modèle")
    if changed:
        raise ValueError(
            f"cet adaptateur a été entraîné sur une autre base (tenseurs différents : {len(changed)} "
            f"sur {len(known)}, dont {changed[0]}) : chargez-la, ou passez check_base=False"
        )
