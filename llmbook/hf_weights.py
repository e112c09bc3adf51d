"""Passer du format du livre à celui de Hugging Face, et retour : noms, formes, config.json.

Le livre réunit q, k et v en une matrice, et la porte avec la montée : un seul grand produit va plus
vite que deux ou trois petits. Hugging Face les sépare ; il suffit de couper et de recoller.
"""

import torch
from torch import Tensor

from llmbook.layers import ModelConfig

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
OUTSIDE = {  # nos noms -> les leurs
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "lm_head.weight": "lm_head.weight",
}
INSIDE = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "attention.q_norm.weight": "self_attn.q_norm.weight",
    "attention.k_norm.weight": "self_attn.k_norm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn.down.weight": "mlp.down_proj.weight",
}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")


def from_hf_names(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Les poids de Hugging Face sous nos noms, q, k, v recollés ainsi que la porte et la montée.

    ValueError qui nomme le premier tenseur absent, ou ceux que notre modèle ne saurait placer.
    """
    unused = {name for name in state if not name.endswith("rotary_emb.inv_freq")}

    def take(name: str) -> Tensor:
        if name not in state:
            raise ValueError(f"tenseur absent : {name} ; ce point de reprise est incomplet")
        unused.discard(name)
        return state[name]

    tied = config.tie_embeddings and "lm_head.weight" not in state
    outside = OUTSIDE | ({"lm_head.weight": OUTSIDE["embed.weight"]} if tied else {})
    ours = {name: take(theirs) for name, theirs in outside.items()}
    for layer in range(config.n_layers):
        here, there = f"blocks.{layer}.", f"model.layers.{layer}."
        for name, theirs in INSIDE.items():
            if "_norm.weight" not in theirs or config.qk_norm:
                ours[here + name] = take(there + theirs)
        kinds = ("weight", "bias") if config.qkv_bias else ("weight",)
        for kind in kinds:
            parts = [take(f"{there}{part}.{kind}") for part in QKV]
            ours[f"{here}attention.qkv.{kind}"] = torch.cat(parts)
        parts = [take(f"{there}{part}.weight") for part in GATE_UP]
        ours[f"{here}ffn.gate_up.weight"] = torch.cat(parts)
    if unused:
        raise ValueError(f"tenseurs inconnus de ce modèle : {', '.join(sorted(unused)[:3])}")
    return ours


def to_hf_names(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Nos poids sous les noms de Hugging Face ; l’inverse de `from_hf_names`."""
    D = config.head_dim
    sizes = [config.n_heads * D, config.n_kv_heads * D, config.n_kv_heads * D]
    theirs = {OUTSIDE[name]: state[name] for name in OUTSIDE}
    for layer in range(config.n_layers):
        here, there = f"blocks.{layer}.", f"model.layers.{layer}."
        for name, value in state.items():
            if not name.startswith(here):
                continue
            inside, kind = name.removeprefix(here), name.rpartition(".")[2]
            if inside.startswith("attention.qkv"):
                for part, piece in zip(QKV, value.split(sizes), strict=True):
                    theirs[f"{there}{part}.{kind}"] = piece.contiguous()
            elif inside.startswith("ffn.gate_up"):
                for part, piece in zip(GATE_UP, value.chunk(2), strict=True):
                    theirs[f"{there}{part}.{kind}"] = piece.contiguous()
            else:
                theirs[there + INSIDE[inside]] = value
    return theirs


def config_from_hf(described: dict) -> ModelConfig:
    """Nos dimensions, lues dans un config.json ; ValueError si la famille nous est inconnue."""
    family = described.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"architecture {family!r} : llmbook.model lit {', '.join(FAMILIES)} ; "
            "pour les autres, prenez transformers.AutoModelForCausalLM"
        )
    rope = described.get("rope_parameters") or described.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"positions étirées par {kind!r} : « default » et « llama3 » sont lues")
    sliding = described.get("use_sliding_window", family == "mistral")
    layers = set(described.get("layer_types") or ())
    refused = {
        "hidden_act": described.get("hidden_act", "silu") != "silu",
        "attention_bias": described.get("attention_bias") and family != "qwen2",  # biais de o_proj
        "mlp_bias": described.get("mlp_bias"),
        "partial_rotary_factor": rope.get("partial_rotary_factor", 1.0) != 1.0,
        "layer_types": len(layers) > 1 or (sliding and layers == {"full_attention"}),
    }
    for name, is_refused in refused.items():
        if is_refused:
            value = described.get(name, rope.get(name))
            raise ValueError(f"{name}={value} : llmbook.model ne sait pas le faire")
    required = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size"
    for name in f"{required} max_position_embeddings rms_norm_eps".split():
        if described.get(name) is None:
            raise ValueError(f"config.json ne donne pas {name} : ce fichier est incomplet")
    return ModelConfig(
        vocab_size=described["vocab_size"],
        d_model=described["hidden_size"],
        n_layers=described["num_hidden_layers"],
        n_heads=described["num_attention_heads"],
        n_kv_heads=described.get("num_key_value_heads") or described["num_attention_heads"],
        d_ff=described["intermediate_size"],
        context=described["max_position_embeddings"],
        head_dim=described.get("head_dim"),
        rope_theta=rope.get("rope_theta") or described.get("rope_theta") or 10_000.0,
        rope_scaling=rope if kind == "llama3" else None,
        norm_eps=described["rms_norm_eps"],
        tie_embeddings=described.get("tie_word_embeddings", False),
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        window=described.get("sliding_window") if sliding else None,
    )


def config_to_hf(config: ModelConfig) -> dict:
    """Le config.json de nos dimensions : la plus simple des familles qui les décrit."""
    if config.qk_norm and config.qkv_bias:
        raise ValueError("qk_norm et qkv_bias ensemble : aucune famille de transformers ne l’a")
    if config.window and (config.qk_norm or config.qkv_bias):
        raise ValueError("window avec qk_norm ou qkv_bias : sans équivalent dans transformers")
    family, name = "llama", "Llama"
    if config.window:
        family, name = "mistral", "Mistral"
    if config.qkv_bias:
        family, name = "qwen2", "Qwen2"
    if config.qk_norm:
        family, name = "qwen3", "Qwen3"
    rope = dict(config.rope_scaling or {"rope_type": "default"}) | {"rope_theta": config.rope_theta}
    described = {
        "model_type": family,
        "architectures": [f"{name}ForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.context,
        "head_dim": config.head_dim,
        "rope_parameters": rope,
        "rope_theta": config.rope_theta,  # que lisent transformers 4 et llama.cpp
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "hidden_act": "silu",
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if config.window:
        described["sliding_window"] = config.window
    return described


def check_shapes(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """ValueError si un tenseur manque, est de trop ou n’a pas la forme que veut config.json."""
    for name, value in expected.items():
        if name not in weights:
            raise ValueError(f"tenseur absent : {name}")
        if weights[name].shape != value.shape:
            found, wanted = tuple(weights[name].shape), tuple(value.shape)
            raise ValueError(
                f"{name} a la forme {found}, le modèle attend {wanted} : "
                "ces poids sont ceux d’une autre configuration"
            )
    if extra := weights.keys() - expected.keys():
        raise ValueError(f"tenseurs inconnus : {', '.join(sorted(extra)[:3])}")
