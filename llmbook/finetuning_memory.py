"""La mémoire d’un affinage, comptée avant de louer la carte : modèle entier, LoRA, QLoRA.

Quatre postes durent d’un pas à l’autre : les poids, les gradients, les deux moments d’AdamW, et ce
que l’on ajoute (adaptateurs). Les autres montent et redescendent pendant un pas : activations,
copies en 16 bits, logits, matrice déquantifiée. La pointe est la plus haute de trois instants.

Le compte suit les boucles de llmbook.finetuning et les modèles de transformers ; à 3 % près de la
mesure sur une H200 dès le milliard de paramètres (book/_data/memoire_affinage.json).
"""

from dataclasses import dataclass

from llmbook.layers import ModelConfig

METHODS = ("full", "lora", "qlora")
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # codes, absmax sur 8 bits, échelles des absmax
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
AT_ONCE = 2**28  # nombres d’une tranche de logits sur une carte : voir llmbook.losses
DECODED = 2**24  # poids NF4 décodés à la fois sur une carte : voir llmbook.quantization_blocks


@dataclass(frozen=True)
class Memory:
    """Octets par poste.

    weights : poids du modèle ; adapters : paramètres ajoutés ; gradients, moments : de ce que l’on
    entraîne ; copies : les poids en 16 bits que l’autocast garde pendant la passe avant ;
    activations : ce que la passe avant garde jusqu’à l’arrière ; layer : ce que la couche en cours
    d’arrière y ajoute ; logits : une tranche, en float32, et la copie dont se sert sa somme
    d’exponentielles ; unpacked : une matrice déquantifiée, et de quoi le faire.
    """

    weights: float
    adapters: float
    gradients: float
    moments: float
    copies: float
    activations: float
    layer: float
    logits: float
    unpacked: float

    @property
    def resident(self) -> float:
        """Ce qui reste entre deux pas, gradients effacés."""
        return self.weights + self.adapters + self.moments

    @property
    def instants(self) -> dict[str, float]:
        """Octets de plus que `resident` à trois instants d’un pas."""
        first = self.layer + self.unpacked if self.adapters else 0
        return {
            "perte": self.copies + self.activations + self.logits,
            "dernière couche": self.activations + self.layer + self.unpacked,
            "première couche": self.gradients + first,  # où finit la passe arrière
        }

    @property
    def peak(self) -> float:
        """Le plus grand total."""
        return self.resident + max(self.instants.values())


def matrices(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Les sept matrices (sorties, entrées) d’une couche, aux noms de transformers."""
    c = config
    queries, keys = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    return {
        "q_proj": (queries, c.d_model),
        "k_proj": (keys, c.d_model),
        "v_proj": (keys, c.d_model),
        "o_proj": (c.d_model, queries),
        "gate_proj": (c.d_ff, c.d_model),
        "up_proj": (c.d_ff, c.d_model),
        "down_proj": (c.d_model, c.d_ff),
    }


def parameter_count(config: ModelConfig) -> tuple[int, int]:
    """(tous les paramètres, ceux des matrices des couches) ; biais et normes de q et k exclus."""
    layers = config.n_layers * sum(m * n for m, n in matrices(config).values())
    norms = (2 * config.n_layers + 1) * config.d_model
    tables = config.vocab_size * config.d_model * (1 if config.tie_embeddings else 2)
    return layers + norms + tables, layers


def adapter_count(config: ModelConfig, rank: int, targets=PROJECTIONS) -> int:
    """Paramètres d’un LoRA : r (m + n) par matrice visée."""
    shapes = matrices(config)
    if unknown := set(targets) - shapes.keys():
        raise ValueError(
            f"cibles inconnues : {', '.join(sorted(unknown))} ; choisir parmi {', '.join(shapes)}"
        )
    return config.n_layers * sum(rank * sum(shapes[name]) for name in targets)


def activation_bytes(
    config: ModelConfig, tokens: int, width: int = 2, trains_norms: bool = False
) -> float:
    """Octets qu’une couche garde pour l’arrière, au total des `tokens` : attention en tuiles.

    Par token : chaque norme garde son entrée en float32, sa sortie et, si son gain s’entraîne, le
    résultat normalisé ; l’attention garde q, k, v, sa sortie et la copie que lit la projection, plus
    un logarithme par tête ; SwiGLU, la porte, son silu, l’autre branche et leur produit.
    width : octets d’une activation.
    """
    c = config
    queries, keys = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    norms = 2 * (4 + width + (4 if trains_norms else 0)) * c.d_model
    attention = width * (3 * queries + 2 * keys) + 4 * c.n_heads
    return tokens * (norms + attention + 4 * width * c.d_ff)


def training_memory(
    config: ModelConfig,
    method: str = "full",
    *,
    batch_size: int = 1,
    context: int = 512,
    rank: int = 16,
    targets=PROJECTIONS,
    checkpointing: bool = True,
    width: int = 2,
    at_once: int = AT_ONCE,
    decoded: int = DECODED,
) -> Memory:
    """Octets d’un pas d’affinage par AdamW, en précision mixte.

    - method : "full", poids maîtres en float32 et calcul en `width` octets ; "lora", base gelée
      en `width` octets ; "qlora", matrices des couches en NF4 à double quantification. Adaptateurs,
      gradients et moments en float32. width=4 : tout en float32, comme sur un processeur.
    - checkpointing : ne garder que l’entrée de chaque couche, et la recalculer à l’arrière
      (Chen et coll., 2016, arXiv:1604.06174).
    - at_once, decoded : nombres d’une tranche de logits, poids NF4 décodés à la fois.

    Le compte ignore les arrondis de l’allocateur (1 % environ), l’espace de travail des noyaux (64 Mio
    de cuBLAS sur une H200) et le contexte CUDA (0,5 Go environ, hors de l’allocateur).
    ValueError si un réglage n’a pas de sens.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} : choisir {', '.join(METHODS)}")
    sizes = {"batch_size": batch_size, "context": context, "rank": rank, "at_once": at_once}
    for name, value in (sizes | {"decoded": decoded}).items():
        if value < 1:
            raise ValueError(f"{name}={value} : au moins 1 est attendu")
    if width not in (2, 4):
        raise ValueError(f"width={width} : 2 (16 bits) ou 4 (float32)")
    full, quantized = method == "full", method == "qlora"
    total, layers = parameter_count(config)
    tokens = batch_size * context
    trained = total if full else adapter_count(config, rank, targets)
    one_layer = activation_bytes(config, tokens, width, trains_norms=full)
    entrance = (4 if full else width) * tokens * config.d_model  # d’une couche ; float32 si tout
    flying = 2 * width * tokens * config.d_ff  # gradients des deux branches de SwiGLU
    biggest = max(m * n for m, n in matrices(config).values())
    base = layers * NF4_BITS / 8 + width * (total - layers) if quantized else width * total
    return Memory(
        weights=4 * total if full else base,
        adapters=0 if full else 4 * trained,
        gradients=4 * trained,
        moments=8 * trained,
        copies=2 * total if full and width == 2 else 0,
        activations=config.n_layers * (entrance if checkpointing else one_layer),
        layer=flying + (one_layer if checkpointing else 0),
        logits=8 * min(tokens * config.vocab_size, at_once),
        unpacked=width * biggest + 6 * min(biggest, decoded) if quantized else 0,
    )
