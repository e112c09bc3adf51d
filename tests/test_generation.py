"""Mêmes tokens que transformers : glouton, tirage, faisceau, filtres ; et les arrêts."""

import itertools

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from llmbook import generation_sampling as sampling  # noqa: E402
from llmbook.generation import generate, stream  # noqa: E402
from llmbook.generation_beam import beam_search  # noqa: E402
from llmbook.model import LanguageModel  # noqa: E402

PROMPT = [3, 17, 5, 3, 40]


def random_pair(**changes):
    """Un Llama tiré au hasard, assez contrasté pour que les ex æquo n’arrivent pas ; et le nôtre."""
    torch.manual_seed(0)
    shape = dict(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**(shape | changes))).eval()
    theirs.generation_config.eos_token_id = None
    return theirs, LanguageModel.from_hf(theirs)


@pytest.fixture(scope="module")
def pair():
    return random_pair()


def their_tokens(model, prompt, **options):
    with torch.no_grad():
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **options)
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
def test_greedy_equals_transformers(pair, penalty):
    theirs, ours = pair
    expected = their_tokens(
        theirs, PROMPT, max_new_tokens=30, do_sample=False, repetition_penalty=penalty
    )
    options = dict(max_tokens=30, temperature=None, repetition_penalty=penalty)
    assert generate(ours, PROMPT, **options) == expected


def test_greedy_stops_where_transformers_stops(pair):
    theirs, ours = pair
    whole = generate(ours, PROMPT, max_tokens=30, temperature=None)
    eos = whole[7]
    expected = their_tokens(theirs, PROMPT, max_new_tokens=30, do_sample=False, eos_token_id=eos)
    got = generate(ours, PROMPT, max_tokens=30, temperature=None, stop=[eos])
    assert got == expected == whole[: whole.index(eos) + 1]


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(temperature=0.7, top_k=20, top_p=0.9),
        dict(temperature=1.8, top_k=9, min_p=0.05, repetition_penalty=1.2),
        dict(temperature=2.5, top_p=0.8, min_p=0.1),
    ],
)
def test_sampling_equals_transformers_with_the_same_seed(pair, options):
    """Même graine et mêmes tokens : les traitements sont donc les mêmes, dans le même ordre."""
    theirs, ours = pair
    torch.manual_seed(5)
    settings = dict(top_k=0, top_p=1.0) | options
    expected = their_tokens(theirs, PROMPT, max_new_tokens=40, do_sample=True, **settings)
    torch.manual_seed(5)
    assert generate(ours, PROMPT, max_tokens=40, **options) == expected


@pytest.fixture(scope="module")
def small():
    """Douze tokens : le token de fin arrive souvent, à tous les rangs."""
    return random_pair(vocab_size=12, initializer_range=0.15)


@pytest.mark.parametrize("beams", [1, 3, 4])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0, -1.0])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_beam_search_equals_transformers(small, beams, length_penalty, early_stopping):
    theirs, ours = small
    lengths = set()
    for eos, penalty in itertools.product([None, 1, 4, 7, 10], [1.0, 1.2]):
        options = dict(length_penalty=length_penalty, repetition_penalty=penalty)
        if beams > 1:
            options["early_stopping"] = early_stopping
        for prompt in ([3, 9, 5], [8]):
            expected = their_tokens(
                theirs, prompt, max_new_tokens=12, num_beams=beams, do_sample=False,
                eos_token_id=eos, **options,
            )  # fmt: skip
            found = beam_search(ours, prompt, max_tokens=12, beams=beams, eos=eos, **options)
            assert found[0].tokens == expected
            lengths.add(len(expected))
    # des textes ont bien fini par eos, sauf là où le score préfère toujours le plus long
    assert min(lengths) < 12 or length_penalty == 3.0


def test_wide_beam_finds_the_most_probable_text(pair):
    """Deux tokens, un faisceau large : le meilleur de tous les textes, énumérés."""
    ours = pair[1]
    with torch.no_grad():
        first = ours(torch.tensor([PROMPT]))[0, -1].log_softmax(-1)
        every = torch.tensor([[*PROMPT, token] for token in range(61)])
        second = ours(every)[:, -1].log_softmax(-1)
    joint = first[:, None] + second
    best = beam_search(ours, PROMPT, max_tokens=2, beams=30, length_penalty=0.0)[0]
    assert best.tokens == list(divmod(int(joint.argmax()), 61))
    assert best.score == pytest.approx(float(joint.max()), abs=1e-4)


FILTERS = [
    ("temperature", lambda v: transformers.TemperatureLogitsWarper(v), [0.3, 1.7]),
    ("top_k", lambda v: transformers.TopKLogitsWarper(v), [1, 5, 1000]),
    ("top_p", lambda v: transformers.TopPLogitsWarper(v), [0.05, 0.5, 0.99]),
    ("min_p", lambda v: transformers.MinPLogitsWarper(v), [0.0, 0.2, 1.0]),
]


@pytest.mark.parametrize("name, theirs, values", FILTERS, ids=[name for name, *_ in FILTERS])
def test_filters_equal_logits_processors(name, theirs, values):
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * 3
    logits[2, 5] = logits[2, 9] = logits[2].max()  # des ex æquo
    for value in values:
        expected = theirs(value)(None, logits.clone())
        assert torch.equal(sampling.FILTERS[name](logits, value), expected)


def test_repetition_penalty_equals_logits_processor():
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(40, (3, 12), generator=torch.Generator().manual_seed(2))
    expected = transformers.RepetitionPenaltyLogitsProcessor(1.4)(ids, logits)
    assert torch.equal(sampling.penalize_repeats(logits, ids, 1.4), expected)


def test_additional_filters_come_last(pair):
    kept = []

    def only_eleven(logits):
        kept.append(int(logits.isfinite().sum()))
        return torch.full_like(logits, -torch.inf).index_fill_(-1, torch.tensor(11), 0.0)

    assert generate(pair[1], PROMPT, max_tokens=3, top_k=4, more=[only_eleven]) == [11] * 3
    assert kept == [4] * 3


def test_stream_reads_only_what_is_asked_for(pair):
    ours = pair[1]

    class Counting:
        steps = 0

        def start(self, prompt):
            return torch.zeros(61)

        def step(self, token):
            self.steps += 1
            return torch.zeros(61)

    decoder = Counting()
    tokens = stream(ours, PROMPT, max_tokens=50, temperature=None, decoder=decoder)
    assert list(itertools.islice(tokens, 3)) == [0, 0, 0]
    assert decoder.steps == 2
    tokens.close()
    assert generate(ours, PROMPT, max_tokens=4, temperature=None, decoder=(d := Counting()))
    assert d.steps == 3  # rien n’est lu après le dernier token


def test_stop_on_a_sequence(pair):
    ours = pair[1]
    whole = generate(ours, PROMPT, max_tokens=30, temperature=None)
    end = whole[10:13]
    got = generate(ours, PROMPT, max_tokens=30, temperature=None, stop=[tuple(end)])
    assert got[-3:] == end and got == whole[: len(got)] and end not in [got[-4:-1]]
    # une suite commencée dans le prompt ne compte pas
    crossing = [PROMPT[-1], whole[0]]
    assert len(generate(ours, PROMPT, max_tokens=2, temperature=None, stop=[crossing])) == 2


def test_generator_makes_the_tokens_repeatable(pair):
    def tokens(seed):
        generator = torch.Generator().manual_seed(seed)
        return generate(pair[1], PROMPT, max_tokens=20, generator=generator)

    assert tokens(1) == tokens(1) != tokens(2)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(temperature=0), "temperature=None"),
        (dict(temperature=-1.0), "temperature=-1.0"),
        (dict(temperature=float("nan")), "temperature"),
        (dict(top_p=0.0), "top_p"),
        (dict(top_p=1.1), "top_p"),
        (dict(top_k=0), "top_k"),
        (dict(min_p=-0.1), "min_p"),
        (dict(repetition_penalty=0.0), "repetition_penalty"),
        (dict(max_tokens=0), "max_tokens"),
        (dict(max_tokens=60), "max_tokens=59"),
        (dict(prompt_ids=[]), "vide"),
        (dict(prompt_ids=[1] * 65), "gardez-en la fin"),
        (dict(prompt_ids=[61]), "0 à 60"),
        (dict(prompt_ids=[-1]), "0 à 60"),
        (dict(stop=[99]), "stop"),
        (dict(stop=[[]]), "suite vide"),
    ],
)
def test_bad_input_is_refused_at_once(pair, change, message):
    with pytest.raises(ValueError, match=message):
        stream(pair[1], **(dict(prompt_ids=PROMPT, max_tokens=5) | change))


@pytest.mark.parametrize(
    "change", [dict(beams=0), dict(beams=31), dict(eos=61), dict(max_tokens=0)]
)
def test_beam_search_refuses_bad_input(pair, change):
    with pytest.raises(ValueError):
        beam_search(pair[1], PROMPT, **(dict(max_tokens=5) | change))
