"""Mesurer ce qu’un modèle répond : l’exactitude de ses réponses, et le code qu’il écrit, exécuté.

Trois précautions rendent une mesure honnête : un intervalle de confiance, une comparaison sur les
mêmes questions, et des réponses jugées par leur exécution plutôt que par leur allure.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmbook import sandbox
from llmbook.evaluation import Rate, wilson

Item = Mapping | str  # un enregistrement de llmbook.instructions, ou une question

# Lire une réponse


def extract_answer(text: str) -> str:
    """La réponse courte : le premier passage entre accents graves, sinon la première ligne.

    Les espaces sont normalisés. Une clôture de bloc (```) n’est pas un passage.
    """
    found = re.search(r"(?<!`)`([^`\n]+)`(?!`)", text)
    line = found[1] if found else next((x for x in text.splitlines() if x.strip()), "")
    return _normalize(line)


def extract_code(text: str) -> str:
    """Le contenu du premier bloc ```python, fermé ou non ; sinon d’un bloc ``` ; sinon le texte."""
    for opening in (r"```(?:python|py)[ \t]*\n", r"```[ \t]*\n"):
        if found := re.search(opening + r"(.*?)(?:^[ \t]*```|\Z)", text, re.DOTALL | re.MULTILINE):
            return found[1]
    return text


def exact_match(prediction: str, expected: str) -> bool:
    """La réponse extraite de `prediction` est-elle `expected`, aux espaces près ?"""
    return extract_answer(prediction) == _normalize(expected)


def _normalize(text: str) -> str:
    return " ".join(text.split())


# Compter, avec un intervalle


class Scores(NamedTuple):
    """Part de réponses exactes, en tout et par famille ; correct : une valeur par question."""

    total: Rate
    families: dict[str, Rate]
    correct: list[bool]


def score_answers(items: Sequence[Mapping], predictions: Sequence[str]) -> Scores:
    """Exactitude des réponses, et intervalles de Wilson ; items : champs « reponse » et « famille ».

    ValueError si les longueurs diffèrent, ou si une question n’a pas de réponse canonique.
    """
    _check_pairs(items, predictions, "réponses")
    correct: list[bool] = []
    families: dict[str, list[bool]] = {}
    for i, (item, prediction) in enumerate(zip(items, predictions, strict=True)):
        if item.get("reponse") is None:
            raise ValueError(f"la question {i} n’a pas de réponse canonique : retirez-la")
        correct.append(exact_match(prediction, item["reponse"]))
        families.setdefault(item.get("famille", ""), []).append(correct[-1])
    rates = {name: wilson(sum(found), len(found)) for name, found in sorted(families.items())}
    return Scores(wilson(sum(correct), len(correct)), rates, correct)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probabilité qu’un échantillon au moins, sur k, réussisse, quand c sur n ont réussi.

    Estimateur sans biais, 1 - C(n - c, k) / C(n, k), par un produit qui ne déborde pas : tirer
    k des n échantillons sans remise. Chen et coll., 2021, arXiv:2107.03374.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass_at_k(n={n}, c={c}, k={k}) : 0 ≤ c ≤ n et 1 ≤ k ≤ n sont attendus")
    if n - c < k:
        return 1.0
    return 1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))


def pass_at_k_interval(
    counts: Sequence[tuple[int, int]],
    k: int,
    *,
    draws: int = 10_000,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> Rate:
    """pass@k moyen sur des tâches, et son intervalle par rééchantillonnage des tâches.

    counts : (échantillons, réussites) de chaque tâche. L’intervalle dit ce que changerait un autre
    tirage de tâches (Efron, 1979) ; si toutes valent 0, ou toutes 1, le rééchantillonnage ne voit
    rien, et c’est celui de Wilson sur le nombre de tâches.
    """
    if not len(counts) or draws < 1 or not 0 < level < 1:
        raise ValueError("au moins une tâche, draws positif et 0 < level < 1 sont attendus")
    values = np.array([pass_at_k(n, c, k) for n, c in counts])
    if len({0.0, 1.0} | set(values)) == 2 and len(set(values)) == 1:
        return wilson(int(values.sum()), len(values), level)
    rng = rng or np.random.default_rng(0)
    distinct, sizes = np.unique(values, return_counts=True)  # peu de valeurs : peu à tirer
    times = rng.multinomial(len(values), sizes / len(values), size=draws)
    low, high = np.quantile(times @ distinct / len(values), _tails(level))
    return Rate(float(values.mean()), float(low), float(high), len(values))


class PairedDifference(NamedTuple):
    """Exactitude de a moins celle de b sur les mêmes n questions, et son intervalle.

    p_value : test exact de McNemar (1947, doi:10.1007/BF02295996), bilatéral : si les deux se
    valaient, chaque question que l’un seul réussit serait un tirage à pile ou face.
    """

    value: float
    low: float
    high: float
    p_value: float
    only_a: int
    only_b: int
    n: int


def paired_difference(
    correct_a: Sequence[bool],
    correct_b: Sequence[bool],
    *,
    draws: int = 10_000,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> PairedDifference:
    """Compare deux modèles sur les mêmes questions : différence, intervalle apparié et test exact.

    Chaque tirage reprend n questions avec remise, les mêmes pour les deux : ce que toutes deux
    réussissent, ou manquent, s’annule.
    """
    _check_pairs(correct_a, correct_b, "résultats")
    if draws < 1 or not 0 < level < 1:
        raise ValueError("draws positif et 0 < level < 1 sont attendus")
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    rng = rng or np.random.default_rng(0)
    shares = np.array([only_a, only_b, n - only_a - only_b]) / n
    times = rng.multinomial(n, shares, size=draws)
    low, high = np.quantile((times[:, 0] - times[:, 1]) / n, _tails(level))
    discordant = only_a + only_b
    tail = sum(math.comb(discordant, i) for i in range(min(only_a, only_b) + 1))
    p_value = min(1.0, 2 * tail / 2**discordant)
    return PairedDifference(
        (only_a - only_b) / n, float(low), float(high), p_value, only_a, only_b, n
    )


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _check_pairs(a: Sequence, b: Sequence, what: str) -> None:
    if not len(a) or len(a) != len(b):
        raise ValueError(f"{len(a)} et {len(b)} {what} : autant des deux, et une au moins")


# Interroger un modèle


def few_shot_prompt(examples: Sequence[tuple[str, str]], question: str) -> str:
    """L’invite d’un modèle de base : des exemples « Question : … Réponse : … », puis la question."""
    solved = "".join(f"Question : {q.strip()}\nRéponse : {a.strip()}\n\n" for q, a in examples)
    return f"{solved}Question : {question.strip()}\nRéponse :"


def answer_questions(
    model,
    tokenizer,
    items: Sequence[Item],
    *,
    max_tokens: int = 32,
    batch_size: int = 32,
    shots: Sequence[Mapping] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """La réponse gloutonne du modèle à chaque question, sans les marques de fin.

    model, tokenizer : ceux du livre, ou de transformers. items : enregistrements de
    llmbook.instructions (le dernier tour de l’assistant est retiré), ou textes de questions.
    shots=None : gabarit de dialogue, jusqu’à <|im_end|> ou à la fin du document. Pour un modèle de
    base, shots est une liste, peut-être vide, d’enregistrements résolus : invite à exemples, et
    réponse d’une ligne.
    """
    from llmbook.generation_prompts import generate_prompts

    prompts = [_prompt_ids(tokenizer, item, shots, short=True) for item in items]
    stop = _ends(tokenizer) | (set() if shots is None else _newlines(tokenizer))
    written = generate_prompts(
        model, prompts, max_tokens=max_tokens, stop=stop, batch_size=batch_size,
        on_progress=on_progress,
    )  # fmt: skip
    texts = [_decode(tokenizer, ids) for ids in written]
    # Un token peut finir la ligne et la réponse à la fois (« `\n ») : la coupe se fait sur le texte.
    return texts if shots is None else [text.split("\n")[0] for text in texts]


def _messages(item: Item) -> list[Mapping]:
    """Les tours d’une question, sans la réponse."""
    if isinstance(item, str):
        return [{"role": "user", "content": item}]
    messages = list(item["messages"])
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def _example(item: Mapping, short: bool) -> tuple[str, str]:
    """(question, réponse) d’un exemple : la réponse courte entre accents graves, ou le message."""
    answer = item["messages"][-1]["content"]
    if short and item.get("reponse") is not None:
        answer = f"`{item['reponse']}`"
    return _messages(item)[-1]["content"], answer


def _prompt_ids(tokenizer, item: Item, shots: Sequence[Mapping] | None, short: bool) -> list[int]:
    if shots is None:
        from llmbook.chat_template import encode

        return encode(tokenizer, _messages(item), add_generation_prompt=True)[0]
    examples = [_example(shot, short) for shot in shots]
    text = few_shot_prompt(examples, _messages(item)[-1]["content"])
    if hasattr(tokenizer, "fin"):
        return [tokenizer.fin, *tokenizer.encode(text)]
    start = tokenizer.bos_token_id
    start = tokenizer.eos_token_id if start is None else start
    ids = tokenizer.encode(text, add_special_tokens=False)
    return ids if start is None else [start, *ids]


def _ends(tokenizer) -> set[int]:
    """Fin de tour et fin de document."""
    if hasattr(tokenizer, "fin"):
        end_of_turn = tokenizer.specials.get("<|im_end|>")
        return {tokenizer.fin} | (set() if end_of_turn is None else {end_of_turn})
    vocabulary, end = tokenizer.get_vocab(), tokenizer.eos_token_id
    ends = {vocabulary[mark] for mark in ("<|im_end|>", "<|fin|>") if mark in vocabulary}
    return ends | (set() if end is None else {end})


def _newlines(tokenizer) -> set[int]:
    """Les tokens qui contiennent un saut de ligne."""
    if hasattr(tokenizer, "fin"):
        marks = set(tokenizer.specials.values())
        pieces = enumerate(tokenizer.tokens)
        return {i for i, piece in pieces if piece and b"\n" in piece and i not in marks}
    written = ("\n", "Ċ", "<0x0A>")  # dans un vocabulaire BPE d’octets, puis de SentencePiece
    pieces = tokenizer.get_vocab().items()
    return {i for piece, i in pieces if any(newline in piece for newline in written)}


def _decode(tokenizer, ids: list[int]) -> str:
    """Le texte, sans la marque de fin."""
    ids = ids[:-1] if ids and ids[-1] in _ends(tokenizer) else ids
    if hasattr(tokenizer, "fin"):
        return tokenizer.decode(ids)
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


# Des tâches, et des réponses qui s’exécutent


class Solved(NamedTuple):
    """Ce qu’un modèle a écrit pour chaque tâche, et ce que l’exécution en a dit.

    samples et outcomes : par tâche, une valeur par échantillon ; counts : (échantillons, réussites)
    par tâche ; pass_at : k -> pass@k et son intervalle ; reasons : raison d’échec -> nombre
    ("syntaxe", "exception", "faux", "délai"… : voir `llmbook.sandbox.Outcome`).
    """

    samples: list[list[str]]
    outcomes: list[list[sandbox.Outcome]]
    counts: list[tuple[int, int]]
    pass_at: dict[int, Rate]
    reasons: Counter[str]


def judge_samples(
    tasks: Sequence[Mapping],
    samples: Sequence[Sequence[str]],
    *,
    ks: Sequence[int] = (1,),
    timeout_s: float = 3,
    **limits,
) -> Solved:
    """Exécute dans l’enceinte le code de chaque échantillon, puis les tests de sa tâche.

    tasks : champ « tests ». limits : celles de `sandbox.run_many`. SandboxUnavailable sans enceinte.
    """
    _check_pairs(tasks, samples, "tâches et listes d’échantillons")
    for k in ks:
        for n in map(len, samples):
            pass_at_k(n, 0, k)  # refuse un k plus grand que le nombre d’échantillons
    programs = [
        (extract_code(text), task["tests"])
        for task, texts in zip(tasks, samples, strict=True)
        for text in texts
    ]
    found = iter(sandbox.check_many(programs, timeout_s=timeout_s, **limits))
    outcomes = [[next(found) for _ in texts] for texts in samples]
    counts = [(len(group), sum(outcome.ok for outcome in group)) for group in outcomes]
    reasons = Counter(outcome.reason for group in outcomes for outcome in group if not outcome.ok)
    pass_at = {k: pass_at_k_interval(counts, k) for k in ks}
    return Solved([list(texts) for texts in samples], outcomes, counts, pass_at, reasons)


def solve_tasks(
    model,
    tokenizer,
    tasks: Sequence[Mapping],
    n_samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    *,
    ks: Sequence[int] | None = None,
    max_tokens: int = 200,
    batch_size: int = 32,
    shots: Sequence[Mapping] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    **limits,
) -> Solved:
    """Fait écrire n_samples solutions par tâche, les exécute, et estime pass@k.

    temperature=None : glouton, un seul échantillon. ks : 1 et n_samples par défaut. shots et
    on_progress : comme `answer_questions`. limits : celles de `judge_samples`.
    """
    from llmbook.generation_prompts import generate_prompts

    if n_samples < 1 or (temperature is None and n_samples > 1):
        raise ValueError(
            f"n_samples={n_samples}, temperature={temperature} : un échantillon au moins ; sans "
            "température, le modèle écrirait toujours le même : demandez-en un"
        )
    prompts = [_prompt_ids(tokenizer, task, shots, short=False) for task in tasks]
    written = generate_prompts(
        model, [ids for ids in prompts for _ in range(n_samples)], max_tokens=max_tokens,
        temperature=temperature, stop=_ends(tokenizer), batch_size=batch_size, seed=seed,
        on_progress=on_progress,
    )  # fmt: skip
    texts = [_decode(tokenizer, ids).split("\nQuestion :")[0] for ids in written]
    samples = [texts[i : i + n_samples] for i in range(0, len(texts), n_samples)]
    ks = sorted({1, n_samples}) if ks is None else ks
    return judge_samples(tasks, samples, ks=ks, **limits)
