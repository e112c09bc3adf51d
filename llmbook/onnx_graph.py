"""Un graphe ONNX à la main : des nœuds, des entrées, des sorties, et des poids rangés à côté.

Un fichier .onnx est un message protobuf : une liste d’opérations nommées, chacune avec ses entrées
et ses sorties. Les poids peuvent y être, ou n’y être que par leur place dans un autre fichier
(*external data*) : le graphe pèse alors quelques kilooctets. https://onnx.ai/onnx/intro/concepts.html
"""

import math
from typing import NamedTuple

import numpy as np

OPSET, IR = 23, 11  # le jeu d’opérations de 2025 : RMSNorm, positions rotatives, attention
WEIGHTS = "poids.bin"  # le nom sous lequel le graphe demande ses données externes
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
REMEDY = "pip install 'llmbook[torch]', ou pip install onnx onnxruntime"


def import_onnx():
    """Le paquet onnx ; s’il manque, une erreur qui dit comment l’avoir."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"onnx manque : {REMEDY}") from error
    return onnx


class Graph:
    """Chaque ajout rend le nom de sa sortie, que le suivant prend en entrée.

    shapes : nom -> forme de chaque poids, des float32 bout à bout dans WEIGHTS, dans cet ordre.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        onnx = import_onnx()
        self.helper, self.proto = onnx.helper, onnx.TensorProto
        self.to_tensor = onnx.numpy_helper.from_array
        self.nodes, self.inputs, self.outputs, self.tensors = [], [], [], {}
        self.places, offset = {}, 0
        for name, shape in shapes.items():
            self.places[name] = (tuple(shape), offset)
            offset += 4 * math.prod(shape)

    def input(self, name: str, kind: str, shape: list) -> str:
        value = self.helper.make_tensor_value_info(name, getattr(self.proto, kind), shape)
        self.inputs.append(value)
        return name

    def output(self, name: str, shape: list) -> None:
        value = self.helper.make_tensor_value_info(name, self.proto.FLOAT, shape)
        self.outputs.append(value)

    def op(self, kind: str, *inputs: str, out: str | list[str] = "", **attributes) -> str:
        """Ajoute une opération, et rend le nom de sa première sortie ; out : ses noms, au choix.

        Une entrée ou une sortie facultative s’omet par un nom vide.
        """
        names = out if isinstance(out, list) else [out or f"{kind}.{len(self.nodes)}"]
        self.nodes.append(self.helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def constant(self, value, dtype=np.int64) -> str:
        array = np.asarray(value, dtype)
        name = f"constante.{len(self.nodes)}.{len(self.tensors)}"
        self.tensors[name] = self.to_tensor(array, name)
        return name

    def weight(self, name: str) -> str:
        """Un poids, par sa place dans WEIGHTS ; ValueError s’il n’y est pas."""
        if name not in self.places:
            raise ValueError(f"tenseur absent : {name} ; ces poids sont incomplets")
        if name not in self.tensors:
            shape, offset = self.places[name]
            tensor = self.proto(name=name, dims=shape, data_type=self.proto.FLOAT)
            tensor.data_location = self.proto.EXTERNAL
            place = {"location": WEIGHTS, "offset": offset, "length": 4 * math.prod(shape)}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            self.tensors[name] = tensor
        return name

    def linear(self, x: str, name: str, bias: bool = False) -> str:
        """x (1, T, entrée) fois la matrice (sortie, entrée), que le moteur transpose une fois."""
        turned = self.op("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        y = self.op("MatMul", x, turned)
        return self.op("Add", y, self.weight(f"{name}.bias")) if bias else y

    def model(self, name: str):
        """Le `ModelProto`, prêt à écrire par `SerializeToString()`."""
        parts = (self.nodes, name, self.inputs, self.outputs, list(self.tensors.values()))
        return self.helper.make_model(
            self.helper.make_graph(*parts),
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="llmbook",
        )


class Shape(NamedTuple):
    """Ce qu’un config.json dit du calcul."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm_eps: float
    frequencies: np.ndarray  # (D/2,) : vitesse de rotation de chaque paire, en radians par token
    tied: bool
    qkv_bias: bool
    qk_norm: bool
    window: int | None

    @classmethod
    def read(cls, described: dict) -> "Shape":
        """ValueError si ce calcul n’est pas celui d’un Llama, d’un Mistral ou d’un Qwen."""
        family, activation = described.get("model_type"), described.get("hidden_act", "silu")
        if family not in FAMILIES or activation != "silu":
            raise ValueError(
                f"architecture {family!r}, activation {activation!r} : le graphe décrit "
                f"{', '.join(FAMILIES)}, avec silu"
            )
        n_heads = described["num_attention_heads"]
        head_dim = described.get("head_dim") or described["hidden_size"] // n_heads
        sliding = described.get("use_sliding_window", family == "mistral")
        return cls(
            n_layers=described["num_hidden_layers"],
            n_heads=n_heads,
            n_kv_heads=described.get("num_key_value_heads") or n_heads,
            head_dim=head_dim,
            norm_eps=described["rms_norm_eps"],
            frequencies=rope_frequencies(described, head_dim),
            tied=described.get("tie_word_embeddings", False),
            qkv_bias=family == "qwen2",
            qk_norm=family == "qwen3",
            window=described.get("sliding_window") if sliding else None,
        )


def rope_frequencies(described: dict, head_dim: int) -> np.ndarray:
    """Celles de `llmbook.layers.rope_frequencies`, sans torch : (D/2,) en float32."""
    rope = described.get("rope_parameters") or described.get("rope_scaling") or {}
    theta = rope.get("rope_theta") or described.get("rope_theta") or 10_000.0
    frequency = 1 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "llama3":
        turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        keep = ((turns - low) / (high - low)).clip(0, 1)  # 1 : paire rapide, laissée telle quelle
        frequency = keep * frequency + (1 - keep) * frequency / rope["factor"]
    elif kind != "default":
        raise ValueError(f"positions étirées par {kind!r} : « default » et « llama3 » sont lues")
    return frequency.astype(np.float32)
