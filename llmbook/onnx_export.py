"""Le modèle du livre en graphe ONNX, opération par opération, puis exécuté par onnxruntime.

Deux graphes sur les mêmes poids : le décodeur, qui prend et rend le cache KV, et l’attention, qui
rend ses probabilités. Ils se construisent d’après config.json seul, sans torch, ce que le livre
fait à sa construction ; les poids gardent les noms et les formes de Hugging Face.
"""

from pathlib import Path

import numpy as np

from llmbook.onnx_graph import REMEDY, WEIGHTS, Graph, Shape

DECODER, ATTENTION = "graphe.onnx", "attention.onnx"
Shapes = dict[str, tuple[int, ...]]


def decoder_graph(described: dict, shapes: Shapes):
    """Le graphe qui lit des tokens et rend les logits du suivant, cache à l’entrée et à la sortie.

    described : le contenu de config.json ; shapes : nom -> forme de chaque poids, dans l’ordre de
    leur fichier. Entrées : tokens (1, T) ; past_key.i, past_value.i (1, Hk, P, D), P = 0 au début.
    Sorties : logits (V,) du dernier token ; key.i, value.i (1, Hk, P + T, D), les passés d’après.
    """
    s, graph = Shape.read(described), Graph(shapes)
    graph.output("logits", ["V"])
    x = _layers(graph, s, attention=False)
    x = graph.op("Gather", x, graph.constant(-1), axis=1)  # (1, C) : la dernière position prédit
    x = _norm(graph, s, x, "model.norm")
    logits = graph.linear(x, "model.embed_tokens" if s.tied else "lm_head")  # (1, V)
    graph.op("Reshape", logits, graph.constant([-1]), out="logits")
    return graph.model("decodeur")


def attention_graph(described: dict, shapes: Shapes):
    """Le graphe qui rend les probabilités d’attention : tokens (1, T) -> attention (L, H, T, T)."""
    s, graph = Shape.read(described), Graph(shapes)
    graph.output("attention", [s.n_layers, s.n_heads, "T", "T"])
    _layers(graph, s, attention=True)
    names = [f"probabilities.{layer}" for layer in range(s.n_layers)]  # chacune (1, H, T, T)
    length = graph.op("Shape", "tokens", start=1, end=2)
    sizes = graph.op("Concat", graph.constant([s.n_layers, s.n_heads]), length, length, axis=0)
    # onnxruntime déduit mal la dernière dimension, sans cache : nous la lui disons
    graph.op("Reshape", graph.op("Concat", *names, axis=0), sizes, out="attention")
    return graph.model("attention")


def _layers(graph: Graph, s: Shape, attention: bool) -> str:
    """Toutes les couches : tokens (1, T) -> flux résiduel (1, T, C)."""
    tokens = graph.input("tokens", "INT64", [1, "T"])
    past = [] if attention else [_past(graph, s, layer) for layer in range(s.n_layers)]
    cos, sin, mask = _positions(graph, s, tokens, past)
    x = graph.op("Gather", graph.weight("model.embed_tokens.weight"), tokens)
    for layer in range(s.n_layers):
        name = f"model.layers.{layer}."
        y = _norm(graph, s, x, name + "input_layernorm")
        q = _heads(graph, s, y, name + "self_attn.q", s.qk_norm)
        k = _heads(graph, s, y, name + "self_attn.k", s.qk_norm)
        v = _heads(graph, s, y, name + "self_attn.v", False)
        q = graph.op("RotaryEmbedding", q, cos, sin, num_heads=s.n_heads)
        k = graph.op("RotaryEmbedding", k, cos, sin, num_heads=s.n_kv_heads)
        inputs = [q, k, v, mask, *(past[layer] if past else ())]
        out = [f"mixed.{layer}", f"key.{layer}", f"value.{layer}"]
        options = dict(q_num_heads=s.n_heads, kv_num_heads=s.n_kv_heads, is_causal=1)
        if attention:
            out = [out[0], "", "", f"probabilities.{layer}"]
            options["qk_matmul_output_mode"] = 3  # après le softmax
        y = graph.op("Attention", *inputs, out=out, **options)  # (1, T, H · D)
        x = graph.op("Add", x, graph.linear(y, name + "self_attn.o_proj"))
        y = _norm(graph, s, x, name + "post_attention_layernorm")
        gate, up = graph.linear(y, name + "mlp.gate_proj"), graph.linear(y, name + "mlp.up_proj")
        silu = graph.op("Mul", gate, graph.op("Sigmoid", gate))
        x = graph.op("Add", x, graph.linear(graph.op("Mul", silu, up), name + "mlp.down_proj"))
    return x


def _past(graph: Graph, s: Shape, layer: int) -> list[str]:
    """Déclare le cache d’une couche, en entrée et en sortie ; rend ses deux noms d’entrée."""
    for kind in ("key", "value"):
        graph.output(f"{kind}.{layer}", [1, s.n_kv_heads, "P + T", s.head_dim])
    names = (f"past_key.{layer}", f"past_value.{layer}")
    return [graph.input(name, "FLOAT", [1, s.n_kv_heads, "P", s.head_dim]) for name in names]


def _norm(graph: Graph, s: Shape, x: str, name: str) -> str:
    return graph.op("RMSNormalization", x, graph.weight(f"{name}.weight"), epsilon=s.norm_eps)


def _heads(graph: Graph, s: Shape, x: str, name: str, normed: bool) -> str:
    """Requêtes, clés ou valeurs : (1, T, C) -> (1, T, têtes · D)."""
    y = graph.linear(x, name + "_proj", s.qkv_bias)
    if not normed:
        return y
    by_head = graph.op("Reshape", y, graph.constant([0, 0, -1, s.head_dim]))  # (1, T, têtes, D)
    return graph.op("Reshape", _norm(graph, s, by_head, name + "_norm"), graph.constant([0, 0, -1]))


def _positions(graph: Graph, s: Shape, tokens: str, past: list) -> tuple[str, str, str]:
    """cos et sin (1, T, D/2) des positions P à P + T - 1, et le masque d’une fenêtre glissante."""
    scalar = graph.constant([])
    start = graph.op("Shape", past[0][0], start=2, end=3) if past else graph.constant([0])
    end = graph.op("Add", start, graph.op("Shape", tokens, start=1, end=2))
    start, end = graph.op("Reshape", start, scalar), graph.op("Reshape", end, scalar)
    rows = graph.op("Range", start, end, graph.constant(1))  # (T,)
    rows = graph.op("Unsqueeze", rows, graph.constant([0, 2]))  # (1, T, 1)
    speeds = graph.constant(s.frequencies, np.float32)
    angles = graph.op("Mul", graph.op("Cast", rows, to=1), speeds)  # to=1 : float32
    mask = ""
    if s.window:  # la position j est vue de i si i - fenêtre < j ; is_causal masque l’avenir
        columns = graph.op("Range", graph.constant(0), end, graph.constant(1))
        oldest = graph.op("Sub", rows, graph.constant(s.window))
        seen = graph.op("Greater", columns, oldest)  # (1, T, P + T)
        mask = graph.op("Squeeze", seen, graph.constant([0]))
    return graph.op("Cos", angles), graph.op("Sin", angles), mask


# Écrire et exécuter


def export(model, folder: str | Path) -> Path:
    """Écrit graphe.onnx, attention.onnx et poids.bin (float32) d’un `LanguageModel`."""
    from llmbook.hf_weights import config_to_hf, to_hf_names

    described = config_to_hf(model.config)
    state = to_hf_names(model.state_dict(), model.config)
    if model.config.tie_embeddings:
        del state["lm_head.weight"]
    shapes = {name: tuple(weight.shape) for name, weight in state.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DECODER).write_bytes(decoder_graph(described, shapes).SerializeToString())
    (folder / ATTENTION).write_bytes(attention_graph(described, shapes).SerializeToString())
    with open(folder / WEIGHTS, "wb") as file:
        for weight in state.values():
            file.write(weight.float().cpu().numpy().tobytes())
    return folder


def open_session(graph: str | Path | bytes, threads: int = 1):
    """Une session d’onnxruntime sur processeur ; graph : un fichier, ou ses octets.

    Les données externes sont cherchées à côté du fichier.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"onnxruntime manque : {REMEDY}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class OnnxDecoder:
    """Le graphe et son cache, derrière l’interface de `llmbook.generation.Decoder`."""

    def __init__(self, folder: str | Path, threads: int = 1):
        self.session = open_session(Path(folder) / DECODER, threads)
        self.past = [value for value in self.session.get_inputs() if value.name != "tokens"]

    def start(self, prompt) -> "Tensor":  # noqa: F821
        """Oublie tout, lit le prompt ; renvoie les logits (V,) du token suivant, un tenseur torch."""
        self.cache = {
            value.name: np.zeros([0 if size == "P" else size for size in value.shape], np.float32)
            for value in self.past
        }
        return self._read(prompt)

    def step(self, token: int) -> "Tensor":  # noqa: F821
        return self._read([token])

    def _read(self, tokens) -> "Tensor":  # noqa: F821
        from torch import from_numpy

        feeds = {"tokens": np.array([list(tokens)], np.int64)} | self.cache
        logits, *present = self.session.run(None, feeds)
        self.cache = dict(zip(self.cache, present, strict=True))
        return from_numpy(logits)
