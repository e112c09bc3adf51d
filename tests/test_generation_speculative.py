"""Le décodage spéculatif ne change pas la loi du modèle : preuve exacte, puis statistique."""

from collections import Counter
from itertools import product

import pytest

torch = pytest.importorskip("torch")

from llmbook.generation import generate  # noqa: E402
from llmbook.generation_sampling import Sampling  # noqa: E402
from llmbook.generation_speculative import residual, speculative  # noqa: E402
from llmbook.model import LanguageModel, ModelConfig  # noqa: E402

PROMPT = [1, 0, 2]


def random_model(seed, vocab_size=3, std=0.5):
    torch.manual_seed(seed)
    shape = dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_ff=16, context=40)
    model = LanguageModel(ModelConfig(vocab_size, **shape))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=std)
    return model.double().eval()


@pytest.fixture(scope="module")
def target():
    return random_model(1)


@pytest.fixture(scope="module")
def draft():
    return random_model(2)


def every_outcome(run):
    """Rejoue `run(draw)` pour toutes les suites de tirages possibles ; rend résultat -> probabilité.

    Le hasard passe tout entier par draw : en énumérant ses réponses, nous avons la loi exacte.
    """
    law, todo = Counter(), [()]
    while todo:
        script, probability, answers = todo.pop(), 1.0, []

        def draw(weights, script=script, answers=answers):
            nonlocal probability
            depth = len(answers)
            possible = [i for i, w in enumerate(weights.tolist()) if w > 0]
            answer = script[depth] if depth < len(script) else possible[0]
            if depth >= len(script):  # premier passage ici : les autres réponses restent à jouer
                todo.extend((*answers, other) for other in possible[1:])
            probability *= float(weights[answer])
            answers.append(answer)
            return answer

        law[run(draw)] += probability
    return law


def exact_law(model, length, rules):
    """La probabilité de chaque suite de `length` tokens sous le modèle seul."""
    law = {}
    for tokens in product(range(model.config.vocab_size), repeat=length):
        probability = 1.0
        for i, token in enumerate(tokens):
            before = [*PROMPT, *tokens[:i]]
            logits = model(torch.tensor([before]))[0, -1]
            probability *= float(rules.probabilities(logits, before)[token])
        law[tokens] = probability
    return law


@pytest.mark.parametrize("lookahead", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [dict(), dict(temperature=0.6, top_k=2), dict(top_p=0.8, repetition_penalty=1.5)],
)
@torch.no_grad()
def test_law_is_exactly_that_of_the_target(target, draft, lookahead, options):
    def run(draw):
        out = speculative(
            target, draft, PROMPT, max_tokens=3, lookahead=lookahead, draw=draw, **options
        )
        return tuple(out.tokens)

    law = every_outcome(run)
    expected = exact_law(target, 3, Sampling(**options))
    drafted = exact_law(draft, 3, Sampling(**options))
    assert sum(law.values()) == pytest.approx(1, abs=1e-6)
    for tokens, probability in expected.items():
        assert law[tokens] == pytest.approx(probability, abs=1e-6)
    assert max(abs(drafted[t] - expected[t]) for t in expected) > 0.02  # le brouillon diffère bien


def test_samples_pass_a_chi_squared_test(target, draft):
    from scipy.stats import chisquare

    generator = torch.Generator().manual_seed(0)
    n = 800
    counts = Counter(
        tuple(speculative(target, draft, PROMPT, max_tokens=2, generator=generator).tokens)
        for _ in range(n)
    )
    with torch.no_grad():
        expected = exact_law(target, 2, Sampling())
        drafted = exact_law(draft, 2, Sampling())
    observed = [counts[tokens] for tokens in expected]
    total = sum(expected.values())
    assert chisquare(observed, [n * p / total for p in expected.values()]).pvalue > 0.01
    total = sum(drafted.values())  # et le test sait voir la différence avec le brouillon
    assert chisquare(observed, [n * p / total for p in drafted.values()]).pvalue < 1e-6


@pytest.mark.parametrize("lookahead", [1, 4, 9])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_speculation_is_greedy(lookahead, penalty):
    big, small = random_model(3, 31), random_model(4, 31)
    options = dict(temperature=None, repetition_penalty=penalty, max_tokens=30)
    expected = generate(big, PROMPT, **options)
    out = speculative(big, small, PROMPT, lookahead=lookahead, **options)
    assert out.tokens == expected
    stop = expected[5]
    out = speculative(big, small, PROMPT, lookahead=lookahead, stop=[stop], **options)
    assert out.tokens == generate(big, PROMPT, stop=[stop], **options)


def test_a_model_accepts_everything_from_itself(target):
    out = speculative(target, target, PROMPT, max_tokens=20, lookahead=4)
    assert out.acceptance == 1 and out.passes == 4 and len(out.tokens) == 20  # 5 par passe
    assert out.proposed == out.accepted == 16


def test_acceptance_is_the_overlap_of_the_laws(target, draft):
    """Taux d’acceptation attendu d’une proposition : Σ min(p, q) (Leviathan, théorème 3.5)."""
    with torch.no_grad():
        p, q = (m(torch.tensor([PROMPT]))[0, -1].softmax(-1) for m in (target, draft))
    runs = []

    def run(draw):
        out = speculative(target, draft, PROMPT, max_tokens=2, lookahead=1, draw=draw)
        runs.append(out)
        return out.accepted

    law = every_outcome(run)
    assert law[1] == pytest.approx(float(torch.minimum(p, q).sum()), abs=1e-5)
    assert all(len(out.tokens) == 2 for out in runs)


def test_residual_is_a_law_even_when_nothing_is_missing():
    p = torch.tensor([0.5, 0.5])
    assert torch.equal(residual(p, p), p)
    left = residual(torch.tensor([0.7, 0.3]), torch.tensor([0.2, 0.8]))
    assert torch.equal(left, torch.tensor([1.0, 0.0]))


def test_bad_input_is_refused(target, draft):
    with pytest.raises(ValueError, match="même tokeniseur"):
        speculative(target, random_model(0, 5), PROMPT, max_tokens=3)
    with pytest.raises(ValueError, match="lookahead"):
        speculative(target, draft, PROMPT, max_tokens=3, lookahead=0)
    with pytest.raises(ValueError, match="temperature"):
        speculative(target, draft, PROMPT, max_tokens=3, temperature=0)
    with pytest.raises(ValueError, match="contexte"):
        speculative(target, draft, PROMPT, max_tokens=38)
