"""De petits modèles tirés au hasard, que plusieurs fichiers d’essais partagent."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def tiny_llama(tie=True):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=90,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tie,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config)
