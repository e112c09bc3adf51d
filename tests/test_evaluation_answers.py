"""llmbook.evaluation_answers et generation_prompts : énumération exacte, simulation, transformers."""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import torch

from llmbook import evaluation_answers as ev
from llmbook import sandbox
from llmbook.chat_template import encode
from llmbook.generation import generate
from llmbook.generation_prompts import _shared_length, generate_prompts, pad_left
from llmbook.model import LanguageModel, ModelConfig
from llmbook.tokenizer import Tokenizer, train_bpe

torch.set_num_threads(1)  # de petits produits : plusieurs fils se gêneraient
WHY_NOT = sandbox.available()
enclosed = pytest.mark.skipif(WHY_NOT is not None, reason=f"pas d’enceinte : {WHY_NOT}")


@functools.cache
def tokenizer() -> Tokenizer:
    return train_bpe(["Question : que vaut f ?\nRéponse : `1`\n\ndef f(x):\n    return x\n"], 300)


@functools.cache
def model(window: int | None = None) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(
        300, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, context=256, window=window
    )
    net = LanguageModel(config)
    with torch.no_grad():  # des logits bien séparés : une position décalée se verrait
        for weight in net.parameters():
            weight.mul_(4)
    return net.eval()


def record(question: str, answer: str | None, famille: str = "f", **more) -> dict:
    written = f"`{answer}`, en bref." if answer is not None else "Cela dépend."
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": written}]
    return {"messages": turns, "reponse": answer, "famille": famille, **more}


# Lire une réponse


@pytest.mark.parametrize(
    "text, answer",
    [
        ("`True`", "True"),
        ("C’est `a  +\tb`, pas `c`.", "a + b"),
        ("\n  La   réponse \nsuite", "La réponse"),
        ("", ""),
        (" \n ", ""),
        ("```python\nx = 1\n```\n`y`", "y"),  # une clôture n’est pas un passage
        ("un `passage\ncoupé` en deux", "un `passage"),
        ("``", "``"),
    ],
)
def test_the_short_answer(text, answer):
    assert ev.extract_answer(text) == answer
    assert ev.exact_match(text, answer) and not ev.exact_match(text, answer + "x")


@pytest.mark.parametrize(
    "text, code",
    [
        ("Voici :\n```python\nif a:\n    b\n```\nEt :\n```python\nx\n```", "if a:\n    b\n"),
        ("```py\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```\nsortie\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1", "x = 1"),  # coupé par max_tokens
        ("```python\ns = '```'\nx = 1\n```", "s = '```'\nx = 1\n"),
        ("x = 1\n", "x = 1\n"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_code(text, code):
    assert ev.extract_code(text) == code


# Compter


def test_pass_at_k_equals_enumeration():
    """La part des choix de k échantillons parmi n qui en contiennent un bon, exactement."""
    for n in range(1, 8):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            choices = list(itertools.combinations(range(n), k))
            good = sum(any(i < c for i in choice) for choice in choices)
            assert ev.pass_at_k(n, c, k) == pytest.approx(good / len(choices), abs=1e-12)


def test_pass_at_k_is_stable():
    for n, c, k in ((10_000, 1, 5_000), (100_000, 3, 1), (5_000, 2_500, 100), (10_000, 1, 9_999)):
        exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
        assert ev.pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-9)
    with pytest.raises(ValueError, match="k=3"):
        ev.pass_at_k(2, 1, 3)


def test_pass_at_k_is_unbiased():
    """En moyenne sur les tirages, 1 - (1 - p)^k : ce que l’estimateur naïf n’est pas."""
    n, k, p = 6, 3, 0.2
    law = scipy.stats.binom(n, p)
    mean = sum(law.pmf(c) * ev.pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    naive = sum(law.pmf(c) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert naive < mean - 0.02


def test_pass_at_k_interval_covers():
    """Des tâches de difficulté tirée au sort : 95 % des intervalles contiennent la vraie moyenne."""
    rng = np.random.default_rng(0)
    n_tasks, n, k, trials = 60, 8, 3, 400
    truth = 1 - math.prod((3 + i) / (4 + i) for i in range(k))  # E[1 - (1 - p)^k], p ~ Beta(1, 3)
    covered = 0
    for _ in range(trials):
        right = rng.binomial(n, rng.beta(1, 3, n_tasks))
        found = ev.pass_at_k_interval([(n, c) for c in right], k, draws=400, rng=rng)
        assert found.low <= found.value <= found.high and found.n == n_tasks
        covered += found.low <= truth <= found.high
    assert 0.90 < covered / trials < 0.985


def test_pass_at_k_interval_keeps_a_width():
    """Tout manqué, ou tout réussi : le rééchantillonnage seul dirait que l’on est sûr."""
    none = ev.pass_at_k_interval([(4, 0)] * 20, 1)
    assert none.value == none.low == 0 and 0.1 < none.high < 0.2
    whole = ev.pass_at_k_interval([(4, 4)] * 20, 2)
    assert whole.value == whole.high == 1 and 0.8 < whole.low < 0.9
    with pytest.raises(ValueError, match="une tâche"):
        ev.pass_at_k_interval([], 1)


def test_paired_difference_equals_scipy():
    a, b = [1, 1, 1, 1, 1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1, 0, 1, 1, 0]
    found = ev.paired_difference(a, b)
    assert (found.value, found.only_a, found.only_b, found.n) == (0.4, 5, 1, 10)
    assert found.p_value == pytest.approx(scipy.stats.binomtest(5, 6, 0.5).pvalue, rel=1e-12)
    other = ev.paired_difference(b, a)
    assert other.value == -0.4 and other.p_value == found.p_value
    same = ev.paired_difference(a, a)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_paired_difference_sees_what_two_intervals_hide():
    """Deux modèles presque pareils : les intervalles de Wilson se recouvrent, l’apparié tranche."""
    a = np.arange(200) < 110
    b = np.arange(200) < 98
    one, two = (ev.wilson(int(x.sum()), 200) for x in (a, b))
    assert two.high > one.low
    found = ev.paired_difference(a, b)
    assert found.low > 0 and found.p_value < 0.001


def test_paired_difference_covers():
    rng, n, trials = np.random.default_rng(1), 80, 400
    covered = wrong = 0
    for _ in range(trials):
        hard = rng.random(n)  # une difficulté commune
        a, b = hard < rng.normal(0.6, 0.1, n), hard < rng.normal(0.5, 0.1, n)
        found = ev.paired_difference(a, b, draws=400, rng=rng)
        covered += found.low <= 0.1 <= found.high
        null = ev.paired_difference(a, hard < rng.normal(0.6, 0.1, n), draws=1)
        wrong += null.p_value < 0.05
    assert 0.91 < covered / trials < 0.985
    assert wrong / trials < 0.06  # le test exact ne crie pas au loup plus souvent qu’annoncé


def test_scores_by_family():
    items = [record("q", "1", "a"), record("q", "2", "a"), record("q", "x y", "b")]
    found = ev.score_answers(items, ["`1`", "3", "`x  y` ou `z`"])
    assert found.correct == [True, False, True]
    assert found.total == ev.wilson(2, 3)
    assert found.families == {"a": ev.wilson(1, 2), "b": ev.wilson(1, 1)}
    with pytest.raises(ValueError, match="2 et 1"):
        ev.score_answers(items[:2], ["1"])
    with pytest.raises(ValueError, match="réponse canonique"):
        ev.score_answers([record("q", None)], ["1"])


# Écrire par lots


def one_by_one(net, prompts, max_tokens, stop):
    found = []
    for prompt in prompts:
        options = dict(max_tokens=max_tokens, temperature=None, stop=list(stop))
        found.append(generate(net, prompt, **options))
    return found


def prompts_of(lengths, shared: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(sum(lengths))
    draw = lambda n: torch.randint(4, 300, (n,), generator=generator).tolist()  # noqa: E731
    head = draw(shared)
    return [head + draw(n) for n in lengths]


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("shared", [0, 11])
@pytest.mark.parametrize("lengths", [[5], [9, 1, 4, 30, 2, 17, 3], [6, 6, 6]])
def test_batches_write_what_single_prompts_write(lengths, shared, window):
    prompts, net = prompts_of(lengths, shared), model(window)
    stop = set(range(4)) | set(range(50, 110))  # un token sur cinq environ : des fins inégales
    for ends in ((), stop):
        expected = one_by_one(net, prompts, 8, ends)
        for size in (3, 32):
            options = dict(max_tokens=8, stop=ends, batch_size=size)
            assert generate_prompts(net, prompts, **options) == expected
    assert len({len(ids) for ids in expected}) > 1 or len(lengths) != 7


def test_batches_equal_transformers():
    net = model().to_hf()
    prompts, stop = prompts_of([9, 1, 4, 30]), set(range(50, 110))
    for ends in ((), stop):
        found = generate_prompts(net, prompts, max_tokens=8, stop=ends, batch_size=3)
        assert found == one_by_one(model(), prompts, 8, ends)


def test_sampling_follows_the_law_and_the_seed():
    """Mille suites d’un token : les fréquences sont celles du softmax ; la graine les rend."""
    prompts = prompts_of([3, 8])
    many = [prompts[i % 2] for i in range(2000)]
    options = dict(max_tokens=1, temperature=2.0, batch_size=500, seed=3)
    found = generate_prompts(model(), many, **options)
    for i in range(2):
        with torch.no_grad():
            law = (model()(torch.tensor([prompts[i]]))[0, -1] / 2).softmax(-1)
        counts = torch.bincount(torch.tensor([ids[0] for ids in found[i::2]]), minlength=300)
        assert scipy.stats.chisquare(*grouped(counts, 1000 * law)).pvalue > 1e-4
    assert generate_prompts(model(), many, **options) == found
    assert generate_prompts(model(), many, **options | dict(seed=4)) != found
    net = model().to_hf()
    sampled = [generate_prompts(net, prompts, **options | dict(max_tokens=9)) for _ in range(2)]
    assert sampled[0] == sampled[1]


def grouped(counts, expected) -> tuple[np.ndarray, np.ndarray]:
    """Les cases attendues au moins cinq fois, puis toutes les autres ensemble."""
    often = expected >= 5
    seen = np.append(counts[often].numpy(), counts[~often].sum().item()).astype(float)
    law = np.append(expected[often].double().numpy(), expected[~often].double().sum().item())
    return seen, law * seen.sum() / law.sum()


def test_prompts_helpers():
    tokens, mask = pad_left([[5], [6, 7, 8]])
    assert tokens.tolist() == [[0, 0, 5], [6, 7, 8]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]
    assert _shared_length([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert _shared_length([[1, 2], [1, 2, 3]]) == 1  # un token au moins reste à lire
    assert _shared_length([[1], [2]]) == 0
    seen, net = [], model().train()
    generate_prompts(net, prompts_of([2, 3, 4]), max_tokens=2, batch_size=2,
                     on_progress=lambda *n: seen.append(n))  # fmt: skip
    assert seen == [(2, 3), (3, 3)] and net.training
    net.eval()
    assert generate_prompts(net, [], max_tokens=2) == []
    assert not any("attend" in vars(block.attention) for block in net.blocks)


@pytest.mark.parametrize(
    "prompts, options, told",
    [
        ([[]], {}, "vide"),
        ([[4] * 300], {}, "contexte"),
        ([[4], [999]], {}, "vocabulaire"),
        ([[4]], dict(batch_size=0), "batch_size"),
        ([[4]], dict(temperature=-1), "temp"),
        ([[4]], dict(max_tokens=0), "max_tokens"),
    ],
)
def test_impossible_prompts(prompts, options, told):
    for net in (model(), model().to_hf()):
        with pytest.raises(ValueError, match=told):
            generate_prompts(net, prompts, **dict(max_tokens=4) | options)


# Interroger


class Scripted(torch.nn.Module):
    """Un modèle qui récite : après un prompt connu, ses logits désignent le token suivant prévu."""

    def __init__(self, answers: dict[str, str], shots=None):
        super().__init__()
        self.config = ModelConfig(300, context=256)
        self.script, self.seen = {}, []
        for question, answer in answers.items():
            prompt = ev._prompt_ids(tokenizer(), question, shots, short=True)
            self.script[tuple(prompt)] = [*tokenizer().encode(answer), 3]

    def continuation(self, prompt: list[int], max_tokens: int) -> list[int]:
        self.seen.append(prompt)
        return self.script[tuple(prompt)][:max_tokens]


@pytest.fixture
def scripted(monkeypatch):
    """Remplace la génération par la récitation, à la porte : un prompt inconnu est une erreur."""

    def recite(net, prompts, *, max_tokens, stop, **_):
        written = [net.continuation(prompt, max_tokens) for prompt in prompts]
        return [
            ids[: next((i + 1 for i, t in enumerate(ids) if t in stop), None)] for ids in written
        ]

    monkeypatch.setattr("llmbook.generation_prompts.generate_prompts", recite)
    return Scripted


def test_questions_go_through_the_template(scripted):
    net = scripted({"que vaut f ?": "`1`\net voilà", "que vaut x ?": "rien"})
    items = [record("que vaut f ?", "1"), "que vaut x ?"]
    assert ev.answer_questions(net, tokenizer(), items) == ["`1`\net voilà", "rien"]
    asked = [{"role": "user", "content": "que vaut f ?"}]
    assert net.seen[0] == encode(tokenizer(), asked, add_generation_prompt=True)[0]
    assert not set(tokenizer().encode("`1`")) & set(net.seen[0][-3:])  # la réponse n’y est pas


def test_a_base_model_gets_examples_and_one_line(scripted):
    shots = [record("un ?", "1"), record("deux ?", "2")]
    expected = (
        "Question : un ?\nRéponse : `1`\n\nQuestion : deux ?\nRéponse : `2`\n\n"
        "Question : trois ?\nRéponse :"
    )
    assert ev.few_shot_prompt([("un ?", "`1`"), ("deux ?", "`2`")], "trois ?") == expected
    net = scripted({"trois ?": " `3`\n\nQuestion : quatre ?"}, shots)
    assert ev.answer_questions(net, tokenizer(), ["trois ?"], shots=shots) == [" `3`"]
    assert net.seen == [[0, *tokenizer().encode(expected)]]


def test_real_models_answer_alike():
    """Le modèle du livre et celui de transformers, avec un AutoTokenizer, rendent la même chose."""
    items = [record("que vaut f ?", "1"), record("def f(x) ?", "2"), record("f", "3")]
    shots = items[:1]
    for examples in (None, shots, ()):
        options = dict(max_tokens=10, batch_size=2, shots=examples)
        found = ev.answer_questions(model(), tokenizer(), items, **options)
        assert ev.answer_questions(model().to_hf(), hf_tokenizer(), items, **options) == found
        assert len(found) == 3 and any(found)


@functools.cache
def hf_tokenizer():
    import tempfile

    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer().save(folder)
        return AutoTokenizer.from_pretrained(folder)


def test_where_answers_end():
    ours, theirs = tokenizer(), hf_tokenizer()
    assert ev._ends(ours) == ev._ends(theirs) == {0, 3}
    newlines = {i for i in range(4, 300) if b"\n" in ours.token_bytes(i)}
    assert ev._newlines(ours) == ev._newlines(theirs) == newlines and len(newlines) > 1


# Des tâches


DOUBLE = record("Écris f.", None, tests=["assert f(2) == 4", "assert f(0) == 0"])
NEGATE = record("Écris g.", None, tests=["assert g(1) == -1"])


@enclosed
def test_code_is_judged_by_running_it():
    samples = [
        ["```python\ndef f(x):\n    return 2 * x\n```", "def f(x): return x", "def f(x"],
        ["```python\nwhile True: pass\n```", "g = lambda x: -x", "h = 1"],
    ]
    found = ev.judge_samples([DOUBLE, NEGATE], samples, ks=(1, 3), timeout_s=1)
    assert [[x.ok for x in group] for group in found.outcomes] == [
        [True, False, False], [False, True, False],
    ]  # fmt: skip
    assert found.counts == [(3, 1), (3, 1)]
    assert found.reasons == {"faux": 1, "syntaxe": 1, "délai": 1, "exception": 1}
    assert found.pass_at[1].value == pytest.approx(1 / 3) and found.pass_at[3].value == 1
    with pytest.raises(ValueError, match="k=4"):
        ev.judge_samples([DOUBLE], [["x"] * 3], ks=(4,))
    with pytest.raises(ValueError, match="1 et 0"):
        ev.judge_samples([DOUBLE], [])


@enclosed
def test_a_model_solves_tasks(scripted):
    texts = {
        "Écris f.": "```python\ndef f(x):\n    return 2 * x\n```",
        "Écris g.": "g = abs",
    }
    found = ev.solve_tasks(scripted(texts), tokenizer(), [DOUBLE, NEGATE], timeout_s=10)
    assert found.samples == [[text] for text in texts.values()]
    assert found.counts == [(1, 1), (1, 0)] and found.reasons == {"faux": 1}
    assert found.pass_at[1].value == 0.5 and set(found.pass_at) == {1}


@enclosed
def test_several_samples_of_a_real_model():
    options = dict(n_samples=3, temperature=1.0, seed=5, max_tokens=6, timeout_s=10)
    found = ev.solve_tasks(model(), tokenizer(), [DOUBLE, NEGATE], **options)
    assert [len(group) for group in found.samples] == [3, 3]
    assert set(found.pass_at) == {1, 3} and found.reasons.total() == 6
    again = ev.solve_tasks(model(), tokenizer(), [DOUBLE, NEGATE], **options)
    assert again.samples == found.samples
    with pytest.raises(ValueError, match="température"):
        ev.solve_tasks(model(), tokenizer(), [DOUBLE], n_samples=2)
