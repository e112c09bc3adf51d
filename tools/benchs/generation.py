"""Décoder un texte à la fois, sur un modèle de 3,4 M de paramètres (6 couches, 192 canaux).

À chronométrer sur un fil, le défaut de `make bench` : à cette taille, un second n’apporte rien.
Le débit, en tokens par seconde, est 128 divisé par le temps affiché.
"""

from functools import cache

from tools.bench import Contest, bench

N_TOKENS = 128
PROMPT = list(range(5, 21))


@cache
def models():
    """Un Llama au hasard et le même chez nous."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmbook.model import LanguageModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,  # assez contrasté pour que deux logits ne soient jamais ex æquo
    )
    theirs = LlamaForCausalLM(config).eval()
    theirs.generation_config.eos_token_id = None
    return theirs, LanguageModel.from_hf(theirs)


def with_transformers():
    import torch

    ids = torch.tensor([PROMPT])
    mask = torch.ones_like(ids)
    options = dict(max_new_tokens=N_TOKENS, do_sample=False, pad_token_id=0)
    with torch.no_grad():
        out = models()[0].generate(ids, attention_mask=mask, **options)
    return out[0, len(PROMPT) :].tolist()


def with_ours(decoder=None):
    from llmbook.generation import generate

    options = dict(max_tokens=N_TOKENS, temperature=None, decoder=decoder)
    return generate(models()[1], PROMPT, **options)


def same(ours, theirs):
    return ours == theirs


@bench("Glouton, 128 tokens, lot 1, 3,4 M", "transformers, generate", "FastDecoder, numpy")
def greedy_against_transformers():
    from llmbook.generation_fast import FastDecoder

    decoder = FastDecoder(models()[1])
    return Contest(with_transformers, lambda: with_ours(decoder), same)


@bench("Glouton, 128 tokens, lot 1, 3,4 M", "SimpleDecoder, torch", "FastDecoder, numpy")
def greedy_simple_against_fast():
    from llmbook.generation_fast import FastDecoder

    decoder = FastDecoder(models()[1])
    return Contest(with_ours, lambda: with_ours(decoder), same)


@bench("Tokens permis le long d’un texte JSON, V = 4096", "token par token", "arbre des tokens")
def token_masks():
    import random

    from llmbook.generation_constrained import IMPOSSIBLE, TokenMasks
    from llmbook.generation_json import JsonAutomaton

    rng = random.Random(0)
    letters = "etaoin\n  _()={}[],:.\"'01é"
    words = {"".join(rng.choices(letters, k=rng.randrange(2, 9))).encode() for _ in range(4000)}
    tokens = [b"", *(bytes([b]) for b in range(256)), *sorted(words)][:4096]
    masks = TokenMasks(JsonAutomaton(), tokens, eos=0)
    states = [masks.automaton.start]
    for byte in b'{"a": [12, true, null], "b": {"c": -1.5}}':
        states.append(masks.automaton.step(states[-1], byte))

    def one_by_one():
        return [[cost(state, token) for token in tokens] for state in dict.fromkeys(states)]

    def cost(state, token):
        if not token:
            return 0 if masks.automaton.accepts(state) else IMPOSSIBLE
        for byte in token:
            state = masks.automaton.step(state, byte)
            if state is None:
                return IMPOSSIBLE
        return masks.automaton.completion(state, masks.alphabet)

    def by_tree():
        masks.needed.clear()
        return [masks.cost(state).tolist() for state in dict.fromkeys(states)]

    return Contest(one_by_one, by_tree, same)
