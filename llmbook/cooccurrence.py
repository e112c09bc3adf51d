"""Compter qui apparaît près de qui, puis pondérer : l’information mutuelle ponctuelle positive.

Church et Hanks, 1990 ; Levy, Goldberg et Dagan, 2015, doi:10.1162/tacl_a_00134.
"""

import keyword
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

NOT_CODE = re.compile(
    r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\''  # chaînes longues, docstrings
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''  # chaînes courtes
    r"|#[^\n]*"
)  # commentaires
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # HTTP|Server, read|lines
KEYWORDS = {word.lower() for word in keyword.kwlist} | {"self", "cls"}


def identifier_words(code: str, comments: bool = False) -> list[str]:
    """Mots des identifiants d’un code Python, en minuscules et dans l’ordre.

    `HTTPServer` donne http, server ; `read_lines` donne read, lines. Mots-clés, `self`, `cls` et
    lettres isolées sont écartés, comme les chaînes et les commentaires, sauf si `comments`.
    Expressions régulières, et non analyse syntaxique : même résultat avec tout Python.
    """
    if not comments:
        code = NOT_CODE.sub(" ", code)
    words = (word.lower() for word in WORD.findall(code))
    return [word for word in words if len(word) > 1 and word not in KEYWORDS]


def vocabulary(words: Sequence[str], size: int = 1500, min_count: int = 1) -> list[str]:
    """Les `size` mots les plus fréquents, du plus au moins fréquent, puis par ordre alphabétique.

    ValueError s’il n’y a aucun mot assez fréquent.
    """
    if size < 1:
        raise ValueError(f"size={size} : au moins un mot est attendu")
    counts = Counter(words)
    ranked = sorted((-n, word) for word, n in counts.items() if n >= min_count)
    if not ranked:
        raise ValueError("aucun mot assez fréquent pour former un vocabulaire")
    return [word for _, word in ranked[:size]]


def cooccurrence_counts(
    words: Sequence[str], vocabulary: Sequence[str], window: int = 4
) -> np.ndarray:
    """Nombre de fois où deux mots sont à `window` places au plus l’un de l’autre : (V, V).

    Symétrique. Un mot hors du vocabulaire tient sa place dans la fenêtre sans être compté.
    """
    if window < 1:
        raise ValueError(f"window={window} : une fenêtre d’au moins un mot est attendue")
    V = len(vocabulary)
    if V == 0 or len(set(vocabulary)) < V:
        raise ValueError("un vocabulaire non vide et sans doublon est attendu")
    index = {word: i for i, word in enumerate(vocabulary)}
    ids = np.array([index.get(word, -1) for word in words], dtype=np.int64)
    counts = np.zeros(V * V)
    for distance in range(1, window + 1):
        left, right = ids[:-distance], ids[distance:]
        known = (left >= 0) & (right >= 0)
        counts += np.bincount(left[known] * V + right[known], minlength=V * V)
    counts = counts.reshape(V, V)
    return counts + counts.T


def ppmi(counts, alpha: float = 1.0) -> np.ndarray:
    """max(0, ln p(w, c) / (p(w) p(c))) pour chaque mot w et contexte c, en nats.

    counts : (V, C) ; renvoie (V, C). alpha < 1 lisse la loi des contextes en p(c)^alpha, ce qui
    ôte aux contextes rares leur avantage (Levy et coll. recommandent 0,75).
    """
    counts = np.asarray(counts, dtype=float)
    if counts.ndim != 2:
        raise ValueError(f"une matrice de comptes est attendue, reçu {counts.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
        raise ValueError("des comptes positifs, finis et non tous nuls sont attendus")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha} : une valeur dans ]0, 1] est attendue")
    joint = counts / counts.sum()
    word = joint.sum(axis=1, keepdims=True)  # (V, 1)
    context = joint.sum(axis=0, keepdims=True) ** alpha  # (1, C)
    context /= context.sum()
    independent = word * context
    ratio = np.divide(joint, independent, where=joint > 0, out=np.ones_like(joint))
    return np.maximum(np.log(ratio), 0.0)
