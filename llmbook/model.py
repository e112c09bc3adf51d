"""Le modèle de langage du livre : un décodeur Llama, lisible, que tout l’écosystème sait charger."""

from pathlib import Path

import torch
from torch import Tensor, nn

from llmbook import hf_files, hf_weights
from llmbook.layers import Block, KVCache, ModelConfig, RMSNorm, rope_tables

__all__ = ["KVCache", "LanguageModel", "ModelConfig"]


class LanguageModel(nn.Module):
    """Tokens (B, T) -> logits (B, T, V) du token suivant.

    Les poids sont tirés de N(0, 0,02²) ; ceux qui écrivent dans le flux résiduel sont divisés par
    √(2 L), pour que sa variance ne croisse pas avec la profondeur (Radford et coll., 2019, GPT-2).
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.embed.weight
        cos, sin = rope_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        writers = 0.02 / (2 * self.config.n_layers) ** 0.5
        for name, weight in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(weight)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                is_writer = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=writers if is_writer else 0.02)

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embed.weight.dtype

    def n_parameters(self, embeddings: bool = True) -> int:
        """Nombre de paramètres ; les plongements partagés ne comptent qu’une fois."""
        total = sum(weight.numel() for weight in self.parameters())
        return total if embeddings else total - self.embed.weight.numel()

    def flops_per_token(self, T: int) -> float:
        """Opérations d’un pas d’entraînement par token, pour des suites de T tokens.

        Six par poids qui multiplie (deux en avant, quatre en arrière), plus l’attention, causale :
        chaque token regarde T/2 positions en moyenne, au produit q·k puis à la somme des valeurs.
        """
        c = self.config
        if T < 1:
            raise ValueError(f"T={T} : au moins un token est attendu")
        multiplied = sum(w.numel() for w in self.blocks.parameters() if w.ndim == 2)
        multiplied += self.lm_head.weight.numel()
        window = min(c.window or T, T)
        seen = window - window**2 / (2 * T)  # T/2 sans fenêtre
        return 6 * (multiplied + 2 * c.n_layers * c.n_heads * c.head_dim * seen)

    def hidden(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """États cachés après la dernière norme : tokens (B, T) -> (B, T, C)."""
        start = 0 if cache is None else cache.length
        self._check(tokens, start, cache)
        end = start + tokens.shape[1]
        cos, sin = self.cos[start:end], self.sin[start:end]
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, cos, sin, cache)
        if cache is not None:
            cache.length = end
        return self.norm(x)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        return self.lm_head(self.hidden(tokens, cache))

    def new_cache(self, batch_size: int = 1, max_tokens: int | None = None) -> KVCache:
        """Un cache vide de la taille du contexte, sur le périphérique et au type des poids."""
        size = self.config.context if max_tokens is None else max_tokens
        return KVCache(self.config, batch_size, size, self.device, self.dtype)

    def _check(self, tokens: Tensor, start: int, cache: KVCache | None) -> None:
        if torch.compiler.is_compiling():
            return
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(f"tokens de forme {tuple(tokens.shape)} : (B, T) est attendu, T ≥ 1")
        if tokens.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"tokens de type {tokens.dtype} : int64 (ou int32) est attendu")
        if tokens.device != self.device:
            raise ValueError(
                f"tokens sur {tokens.device}, modèle sur {self.device} : déplacez l’un des deux"
            )
        room = self.config.context if cache is None else cache.max_tokens
        if start + tokens.shape[1] > room:
            raise ValueError(
                f"{start + tokens.shape[1]} tokens ne tiennent pas dans {room} : "
                "gardez-en la fin, ou prenez un modèle (ou un cache) de plus grand contexte"
            )
        if tokens.device.type == "cpu":  # sur une carte, regarder les valeurs l’arrêterait
            low, high = int(tokens.min()), int(tokens.max())
            if low < 0 or high >= self.config.vocab_size:
                raise ValueError(
                    f"tokens entre {low} et {high} : le vocabulaire va de 0 à "
                    f"{self.config.vocab_size - 1}. Ce tokeniseur est-il celui du modèle ?"
                )

    # Vers Hugging Face, et retour

    @classmethod
    def from_pretrained(cls, name: str | Path, dtype=None, device=None) -> "LanguageModel":
        """Charge un dossier au format Hugging Face, ou un nom du hub : Llama, Mistral, Qwen.

        dtype : float32 par défaut. ValueError si l’architecture n’est pas de cette famille, si un
        fichier est tronqué ou d’une autre forme, si device ou dtype ne convient pas.
        """
        hf_files.check_place(dtype, device)
        folder = hf_files.find(name)
        described = hf_files.read_config(folder)
        hf_files.check_quantization(described)
        config = hf_weights.config_from_hf(described)
        with torch.device("meta"):
            model = cls(config)
        weights = hf_weights.from_hf_names(hf_files.read(folder), config)
        return model._filled(weights, dtype or torch.float32, device)

    @classmethod
    def from_hf(cls, hf_model) -> "LanguageModel":
        """Le même modèle qu’un `LlamaForCausalLM` (ou Qwen2, Qwen3) déjà en mémoire."""
        config = hf_weights.config_from_hf(hf_model.config.to_dict())
        with torch.device("meta"):
            model = cls(config)
        state = {name: weight.clone() for name, weight in hf_model.state_dict().items()}
        weights = hf_weights.from_hf_names(state, config)
        return model._filled(weights, hf_model.dtype, hf_model.device)

    def to_hf(self):
        """Le `LlamaForCausalLM` (ou Qwen2, Qwen3) de mêmes poids."""
        from transformers import AutoConfig, AutoModelForCausalLM

        described = hf_weights.config_to_hf(self.config)
        config = AutoConfig.for_model(described.pop("model_type"), **described)
        model = AutoModelForCausalLM.from_config(config, dtype=self.dtype).to(self.device)
        model.load_state_dict(hf_weights.to_hf_names(self.state_dict(), self.config))
        return model.eval()

    def save_pretrained(
        self, folder: str | Path, dtype=torch.bfloat16, *, int8: bool = False, **extra
    ) -> Path:
        """Écrit config.json et model.safetensors, que `AutoModelForCausalLM` sait charger.

        int8 : les matrices des couches en entiers de 8 bits (transformers demande alors le paquet
        compressed-tensors). extra : champs ajoutés à config.json, par exemple eos_token_id=0.
        """
        return hf_files.write(folder, self.state_dict(), self.config, dtype, extra, int8)

    def _filled(self, weights: dict[str, Tensor], dtype, device) -> "LanguageModel":
        """Donne leurs poids à un modèle construit sans mémoire (périphérique « meta »)."""
        hf_weights.check_shapes(weights, self.state_dict())
        weights = {name: w.to(device=device, dtype=dtype) for name, w in weights.items()}
        self.load_state_dict(weights, assign=True)
        if self.config.tie_embeddings:
            self.lm_head.weight = self.embed.weight
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        self.cos, self.sin = rope_tables(self.config, device)
        return self
