"""Chaque filtre égal au `LogitsProcessor` de transformers, ou à une réécriture littérale."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from llmbook import generation_filters as filters  # noqa: E402
from llmbook.generation import SimpleDecoder, generate  # noqa: E402
from llmbook.generation_batch import generate_batch  # noqa: E402
from llmbook.generation_contrastive import (  # noqa: E402
    ContrastiveDecoder,
    contrast,
    contrastive_search,
    degeneration,
)
from llmbook.generation_sampling import Sampling  # noqa: E402
from tests.test_generation import PROMPT, random_pair, their_tokens  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    return random_pair()


def rows(n=6, V=40, seed=1):
    return torch.randn(n, V, generator=torch.Generator().manual_seed(seed)) * 3


# Ceux qui ne regardent que la loi


LAW = [
    ("typical", transformers.TypicalLogitsWarper, [0.05, 0.5, 0.95]),
    ("epsilon", transformers.EpsilonLogitsWarper, [1e-4, 0.03, 0.9]),
    ("eta", transformers.EtaLogitsWarper, [1e-4, 0.03, 0.9]),
]


@pytest.mark.parametrize("name, theirs, values", LAW, ids=[name for name, *_ in LAW])
def test_filters_equal_logits_processors(name, theirs, values):
    logits = rows()
    logits[2, 5] = logits[2, 9] = logits[2].max()  # des ex æquo
    logits[3, 10:] = -torch.inf  # un top-k est déjà passé
    kept = set()
    for value in values:
        ours = getattr(filters, name)(logits, value)
        assert torch.equal(ours, theirs(value)(None, logits.clone()))
        kept.add(int(ours.isfinite().sum()))
    assert len(kept) == len(values)  # chaque réglage garde un autre nombre de tokens


@pytest.mark.parametrize(
    "options, more",
    [
        (dict(typical_p=0.6), [partial(filters.typical, mass=0.6)]),
        (dict(epsilon_cutoff=0.02), [partial(filters.epsilon, cutoff=0.02)]),
        (
            dict(temperature=1.5, top_k=30, top_p=0.95, min_p=0.01, typical_p=0.8, eta_cutoff=0.05),
            [partial(filters.typical, mass=0.8), partial(filters.eta, cutoff=0.05)],
        ),
        (
            dict(temperature=2.0, typical_p=0.7, epsilon_cutoff=0.01, eta_cutoff=0.3),
            [
                partial(filters.typical, mass=0.7),
                partial(filters.epsilon, cutoff=0.01),
                partial(filters.eta, cutoff=0.3),
            ],
        ),
    ],
)
def test_order_is_that_of_transformers(pair, options, more):
    """Mêmes tokens à la même graine : typical, epsilon et eta viennent après min-p, dans cet ordre."""
    theirs, ours = pair
    torch.manual_seed(5)
    settings = dict(top_k=0, top_p=1.0) | options
    expected = their_tokens(theirs, PROMPT, max_new_tokens=40, do_sample=True, **settings)
    kept = {k: v for k, v in options.items() if k in ("temperature", "top_k", "top_p", "min_p")}
    torch.manual_seed(5)
    assert generate(ours, PROMPT, max_tokens=40, more=more, **kept) == expected


def test_typical_may_drop_the_most_probable():
    """La propriété qui la distingue : le token trop attendu s’en va, pas seulement la queue."""
    p = torch.tensor([0.3] + [0.01] * 70)
    kept = filters.typical(p.log(), 0.3).isfinite()
    assert not kept[0] and kept[1:].any()


def test_top_n_sigma_ignores_temperature():
    logits = rows()
    logits[1, 20:] = -torch.inf
    for n in (0.5, 1.0, 2.0):
        kept = filters.top_n_sigma(logits, n).isfinite()
        assert torch.equal(kept, filters.top_n_sigma(logits / 3.7, n).isfinite())
        for row, mask in zip(logits, kept, strict=True):  # la définition, ligne à ligne
            alive = row[row.isfinite()]
            limit = alive.max() - n * alive.std(correction=0)
            assert torch.equal(mask, row >= limit)


# Ceux qui regardent le texte


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_no_repeat_ngram_equals_logits_processor(n):
    ids = torch.randint(4, (5, 30), generator=torch.Generator().manual_seed(2))
    for length in (1, 3, 30):
        logits = rows(5, 8)
        theirs = transformers.NoRepeatNGramLogitsProcessor(n)(ids[:, :length], logits.clone())
        assert torch.equal(filters.no_repeat_ngram(logits, ids[:, :length], n), theirs)


@pytest.mark.parametrize("do_sample", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_repeat_ngram_generates_like_transformers(pair, n, do_sample):
    theirs, ours = pair
    options = dict(temperature=0.7, top_k=9, repetition_penalty=0.9) if do_sample else {}
    torch.manual_seed(3)
    expected = their_tokens(
        theirs, PROMPT, max_new_tokens=40, do_sample=do_sample, no_repeat_ngram_size=n, **options
    )
    torch.manual_seed(3)
    decoder = filters.HistoryDecoder(
        SimpleDecoder(ours), whole=[partial(filters.no_repeat_ngram, n=n)]
    )
    got = generate(
        ours, PROMPT, max_tokens=40, decoder=decoder, **({"temperature": None} | options)
    )
    assert got == expected
    grams = list(zip(*[[*PROMPT, *got][i:] for i in range(n)], strict=False))
    assert len(set(grams)) == len(grams) or n == 1  # le prompt répète déjà un token


def test_penalties_follow_the_formula_of_the_api():
    """mu[j] - c[j] frequency - (c[j] > 0) presence, écrite avec des boucles."""
    logits = rows(3, 6)
    ids = torch.tensor([[0, 0, 4], [1, 2, 3], [5, 5, 5]])
    expected = logits.clone()
    for b, row in enumerate(ids.tolist()):
        for j in range(6):
            count = row.count(j)
            expected[b, j] -= 0.7 * count + 0.3 * (count > 0)
    got = filters.penalize_counts(logits, ids, frequency=0.7, presence=0.3)
    torch.testing.assert_close(got, expected)
    nothing = torch.zeros(3, 0, dtype=torch.long)  # le premier token, rien n’est écrit
    assert torch.equal(filters.penalize_counts(logits, nothing, 0.7, 0.3), logits)


def literal_dry(ids, breakers, allowed=2):
    """Pour chaque token, la plus longue suite qui finit ids et que ce token a déjà suivie."""
    lengths = {}
    for token in set(ids):
        for length in range(len(ids), allowed - 1, -1):
            suffix = ids[-length:]
            places = range(len(ids) - length)
            if not breakers & set(suffix) and any(
                ids[i : i + length] == suffix and ids[i + length] == token for i in places
            ):
                lengths[token] = length
                break
    return lengths


def test_dry_equals_its_definition():
    generator = torch.Generator().manual_seed(4)
    seen = set()
    for _ in range(150):
        ids = torch.randint(3, (1, 14), generator=generator)
        logits = rows(1, 5)
        for breakers in (set(), {2}):
            expected = logits.clone()
            for token, length in literal_dry(ids[0].tolist(), breakers).items():
                expected[0, token] -= 0.8 * 1.75 ** (length - 2)
                seen.add(length)
            got = filters.dry(logits, ids, breakers=breakers)
            torch.testing.assert_close(got, expected)
    assert {2, 3, 4, 5} <= seen


def test_history_decoder_gives_the_prompt_only_to_whole(pair):
    seen = []

    def spy(name):
        return lambda logits, ids: seen.append((name, ids.shape[1])) or logits

    decoder = filters.HistoryDecoder(SimpleDecoder(pair[1]), [spy("whole")], [spy("written")])
    generate(pair[1], PROMPT, max_tokens=2, temperature=None, decoder=decoder)
    assert seen == [("whole", 5), ("written", 0), ("whole", 6), ("written", 1)]


# Par lots


def test_batch_of_one_equals_generate(pair):
    options = dict(temperature=0.9, top_k=12, repetition_penalty=1.2)
    expected = generate(
        pair[1], PROMPT, max_tokens=25, generator=torch.Generator().manual_seed(1), **options
    )
    got = generate_batch(
        pair[1], PROMPT, 1, max_tokens=25, sampling=Sampling(**options),
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert got == [expected]


def test_every_greedy_row_equals_generate(pair):
    expected = generate(pair[1], PROMPT, max_tokens=25, temperature=None)
    got = generate_batch(pair[1], PROMPT, 3, max_tokens=25, sampling=Sampling(temperature=None))
    assert got == [expected] * 3
    stop = expected[6]
    cut = generate(pair[1], PROMPT, max_tokens=25, temperature=None, stop=[stop])
    got = generate_batch(
        pair[1], PROMPT, 2, max_tokens=25, sampling=Sampling(temperature=None), stop=stop
    )
    assert got == [cut] * 2


def test_rows_of_a_batch_are_independent_draws(pair):
    """Les premiers tokens suivent la loi du modèle : chi carré."""
    from scipy.stats import chisquare

    law = Sampling(top_k=5)
    got = generate_batch(
        pair[1], PROMPT, 600, max_tokens=1, sampling=law,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with torch.no_grad():
        p = law.probabilities(pair[1](torch.tensor([PROMPT]))[0, -1], PROMPT).double()
    counts = torch.bincount(torch.tensor(got)[:, 0], minlength=61)
    alive = p > 0
    assert counts[~alive].sum() == 0
    assert chisquare(counts[alive], 600 * p[alive] / p.sum()).pvalue > 0.01


# La recherche et le décodage contrastifs


def literal_contrastive_search(model, ids, n, k, alpha):
    """L’équation 5 de Su et coll. (2022), un candidat et une relecture entière à la fois.

    transformers a retiré sa version (elle vit sur le Hub, transformers-community/contrastive-search).
    """
    ids = list(ids)
    for _ in range(n):
        p = torch.softmax(model(torch.tensor([ids]))[0, -1], -1)
        best = None
        for v in p.topk(k).indices.tolist():
            h = model.hidden(torch.tensor([[*ids, v]]))[0]
            penalty = max(
                torch.cosine_similarity(h[-1], h[j], dim=0).item() for j in range(len(ids))
            )
            score = (1 - alpha) * p[v].item() - alpha * penalty
            if best is None or score > best[0]:
                best = score, v
        ids.append(best[1])
    return ids


@pytest.mark.parametrize("k, alpha", [(4, 0.6), (8, 0.3), (1, 0.6), (5, 1.0)])
@torch.no_grad()
def test_contrastive_search_equals_the_paper(pair, k, alpha):
    expected = literal_contrastive_search(pair[1], PROMPT, 15, k, alpha)
    got = contrastive_search(pair[1], PROMPT, max_tokens=15, k=k, alpha=alpha)
    assert [*PROMPT, *got] == expected


def test_contrastive_search_without_penalty_is_greedy(pair):
    greedy = generate(pair[1], PROMPT, max_tokens=20, temperature=None)
    assert contrastive_search(pair[1], PROMPT, max_tokens=20, k=6, alpha=0.0) == greedy
    assert contrastive_search(pair[1], PROMPT, max_tokens=20, k=1) == greedy
    stop = greedy[4]
    got = contrastive_search(pair[1], PROMPT, max_tokens=20, k=1, stop=stop)
    assert got == greedy[: greedy.index(stop) + 1]


def test_degeneration_is_the_largest_cosine():
    candidates, past = rows(3, 8), rows(5, 8, seed=2)
    got = degeneration(candidates, past)
    for i, row in enumerate(candidates):
        expected = max(torch.cosine_similarity(row, other, dim=0) for other in past)
        torch.testing.assert_close(got[i], expected)


@pytest.fixture(scope="module")
def amateur():
    torch.manual_seed(9)
    config = random_pair()[0].config
    theirs = transformers.LlamaForCausalLM(config).eval()
    from llmbook.model import LanguageModel

    return theirs, LanguageModel.from_hf(theirs)


@pytest.mark.parametrize("beta", [0.5, 2.0])
@torch.no_grad()
def test_contrast_equals_classifier_free_guidance(pair, amateur, beta):
    """(1 + β) expert - β amateur est la « guidance » de transformers, l’amateur sans condition."""
    guidance = transformers.UnbatchedClassifierFreeGuidanceLogitsProcessor(
        1 + beta, amateur[0], unconditional_ids=torch.tensor([PROMPT]), use_cache=False
    )
    ids = torch.tensor([PROMPT])
    expert = pair[1](ids)[:, -1]
    expected = guidance(ids, expert.clone())
    ours = contrast(expert, amateur[1](ids)[:, -1], alpha=0.0, beta=beta)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("beta", [None, 0.5])
def test_contrastive_decoding_generates_like_transformers(pair, amateur, beta):
    """Le même score donné à `generate` de transformers par un LogitsProcessor sans cache."""

    def literal(ids, scores):  # Li et coll., équations 2 et 3
        p = torch.log_softmax(scores, -1)
        q = torch.log_softmax(amateur[0](ids).logits[:, -1], -1)
        out = p - q if beta is None else (1 + beta) * p - beta * q
        out[p < p.max(-1, keepdim=True).values + torch.tensor(0.1).log()] = -torch.inf
        return out

    theirs, ours = pair
    expected = their_tokens(
        theirs, PROMPT, max_new_tokens=25, do_sample=False,
        logits_processor=transformers.LogitsProcessorList([literal]),
    )  # fmt: skip
    decoder = ContrastiveDecoder(ours, amateur[1], beta=beta)
    got = generate(ours, PROMPT, max_tokens=25, temperature=None, decoder=decoder)
    assert got == expected
    assert got != generate(ours, PROMPT, max_tokens=25, temperature=None)


def test_contrast_keeps_only_plausible_tokens():
    expert, amateur = rows(), rows(seed=2)
    kept = contrast(expert, amateur, alpha=0.2).isfinite()
    p = expert.softmax(-1)
    assert torch.equal(kept, p >= 0.2 * p.amax(-1, keepdim=True))
    assert torch.equal(contrast(expert, amateur, alpha=1.0).argmax(-1), expert.argmax(-1))
    torch.testing.assert_close(contrast(expert, amateur, alpha=0, beta=0), expert.log_softmax(-1))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: filters.typical(torch.zeros(3), 1.0), "mass=1.0"),
        (lambda m: filters.epsilon(torch.zeros(3), 0.0), "cutoff=0.0"),
        (lambda m: filters.eta(torch.zeros(3), -1), "cutoff=-1"),
        (lambda m: filters.top_n_sigma(torch.zeros(3), 0), "n=0"),
        (lambda m: filters.no_repeat_ngram(torch.zeros(1, 3), torch.zeros(1, 2), 0), "n=0"),
        (lambda m: filters.dry(torch.zeros(1, 3), torch.zeros(1, 2), allowed=0), "allowed=0"),
        (lambda m: contrastive_search(m, PROMPT, max_tokens=3, k=0), "k=0"),
        (lambda m: contrastive_search(m, PROMPT, max_tokens=3, alpha=1.5), "alpha=1.5"),
        (lambda m: contrastive_search(m, [], max_tokens=3), "vide"),
        (lambda m: contrast(torch.zeros(3), torch.zeros(4)), "tokeniseur"),
        (lambda m: contrast(torch.zeros(3), torch.zeros(3), alpha=2), "alpha=2"),
        (lambda m: generate_batch(m, PROMPT, 0, max_tokens=3), "n=0"),
        (lambda m: generate_batch(m, PROMPT, 2, max_tokens=90), "max_tokens=59"),
    ],
)
def test_bad_input_is_refused(pair, call, message):
    with pytest.raises(ValueError, match=message):
        call(pair[1])
