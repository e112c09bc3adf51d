"""Le gabarit de dialogue (*chat template*) : d’une liste de messages aux tokens, et ce qui s’apprend.

ChatML écrit chaque tour entre deux marques :

    <|im_start|>user
    Que fait len ?<|im_end|>
    <|im_start|>assistant
    Il compte les éléments.<|im_end|>

L’affinage n’apprend que ce que l’assistant écrit, `<|im_end|>` compris : c’est ainsi que le modèle
sait se taire. `encode` rend donc, avec les tokens, le masque de ceux-là.

Le contenu d’un message est du texte : un « <|im_end|> » qu’il contient reste une suite d’octets.
`tokenizer.apply_chat_template` en ferait la marque, et un utilisateur pourrait clore son tour puis
parler au nom de l’assistant. Sur tout autre contenu, les deux donnent les mêmes tokens et le même
masque (celui de return_assistant_tokens_mask=True).
"""

import itertools
import re
from collections.abc import Mapping, Sequence

from llmbook.tokenizer import Tokenizer

START, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant", "tool")
MARKED = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")

# Le même gabarit pour transformers et vLLM ; generation entoure ce qui s’apprend.
CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}"
    "{%- else %}"
    "{{- message['content'] + '<|im_end|>' }}"
    "{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

Messages = Sequence[Mapping[str, str]]


def render(messages: Messages, add_generation_prompt: bool = False) -> str:
    """Le texte ChatML d’un dialogue, tel que l’écrit le gabarit CHATML.

    messages : {"role": …, "content": …}, dans l’ordre ; add_generation_prompt : ouvre le tour de
    l’assistant, pour qu’un modèle le continue. À lire, pas à encoder : le texte ne dit plus quelles
    marques viennent du gabarit. ValueError si le dialogue n’en est pas un (`check`).
    """
    check(messages, add_generation_prompt)
    turns = [f"{START}{m['role']}\n{m['content']}{END}\n" for m in messages]
    return "".join(turns) + (f"{START}assistant\n" if add_generation_prompt else "")


def encode(
    tokenizer, messages: Messages, add_generation_prompt: bool = False
) -> tuple[list[int], list[bool]]:
    """Tokens d’un dialogue, et masque de même longueur : vrai sur ce que l’assistant a écrit.

    tokenizer : celui du livre, ou un tokeniseur rapide de transformers ; celui-ci suit son propre
    gabarit, CHATML s’il n’en a pas. Aucun token de début n’est ajouté, hors du gabarit.

    Un gabarit sans marques `generation` ne dit pas ce qu’il faut apprendre : ValueError, sauf
    pour un dialogue sans tour d’assistant ou avec add_generation_prompt, où rien ne s’apprend.
    """
    check(messages, add_generation_prompt)
    if isinstance(tokenizer, Tokenizer):
        return _encode_chatml(tokenizer, messages, add_generation_prompt)
    template = template_of(tokenizer)
    answers = any(message["role"] == "assistant" for message in messages)
    if answers and not add_generation_prompt and not MARKED.search(template):
        raise ValueError(
            "le gabarit de ce tokeniseur n’a pas de marques {% generation %} : rien ne dit ce que "
            "l’assistant a écrit. Entourez-en sa réponse dans tokenizer.chat_template, ou prenez "
            "trl.chat_template_utils.get_training_chat_template(tokenizer), ou, pour un modèle de "
            "base, tokenizer.chat_template = llmbook.chat_template.CHATML"
        )
    return _encode_with(tokenizer, template, messages, add_generation_prompt)


def check(messages: Messages, add_generation_prompt: bool = False) -> None:
    """ValueError, qui nomme le message, si les tours ne se suivent pas comme dans un dialogue.

    Un message system n’est permis qu’en tête ; deux tours d’affilée du même rôle sont refusés, sauf
    les réponses d’outils (tool). Un contenu est du texte : ni image, ni appel d’outil à part.
    """
    if isinstance(messages, str | Mapping) or not len(messages):
        raise ValueError(
            "dialogue vide : une liste de messages {'role': …, 'content': …} est attendue"
        )
    before = None
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise ValueError(f"message {number} : un dictionnaire avec role et content est attendu")
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise ValueError(
                f"message {number} : rôle {role!r} inconnu, choisir {', '.join(ROLES)}"
            )
        if not isinstance(content, str):
            raise ValueError(
                f"message {number} : du texte est attendu, pas {type(content).__name__}"
            )
        if role == "system" and number:
            raise ValueError(f"message {number} : system n’est permis qu’en tête du dialogue")
        if role == before and role != "tool":
            raise ValueError(
                f"messages {number - 1} et {number} : deux tours {role} d’affilée, joignez-les"
            )
        before = role
    if add_generation_prompt and before == "assistant":
        raise ValueError("add_generation_prompt : le dernier tour est déjà celui de l’assistant")


def template_of(tokenizer) -> str:
    """Le gabarit d’un tokeniseur de transformers ; CHATML s’il n’en a pas mais connaît ses marques."""
    if getattr(tokenizer, "chat_template", None):
        return tokenizer.get_chat_template()
    if {START, END} <= tokenizer.get_added_vocab().keys():
        return CHATML
    raise ValueError(
        f"ce tokeniseur n’a ni gabarit de dialogue ni les tokens {START} et {END} : donnez-lui un "
        "tokenizer.chat_template, ou ajoutez ces tokens (et leurs plongements au modèle)"
    )


# Le tokeniseur du livre


def _encode_chatml(tokenizer: Tokenizer, messages, add_generation_prompt):
    missing = {START, END} - tokenizer.specials.keys()
    if missing:
        raise ValueError(
            f"ce tokeniseur n’a pas les marques {', '.join(sorted(missing))} : apprenez-le avec "
            "specials=llmbook.tokenizer.SPECIALS"
        )
    start, end = tokenizer.specials[START], tokenizer.specials[END]
    newline = tokenizer.encode("\n")
    ids, mask = [], []
    for message in messages:
        header = message["role"] + "\n"
        text = tokenizer.encode(header + message["content"])  # specials=False : jamais de marque
        learned = message["role"] == "assistant"
        ids += [start, *text, end, *newline]
        mask += [False, *_after(tokenizer, text, len(header), learned), learned]
        mask += [False] * len(newline)
    if add_generation_prompt:
        ids += [start, *tokenizer.encode("assistant\n")]
    return ids, mask + [False] * (len(ids) - len(mask))


def _after(tokenizer: Tokenizer, ids: list[int], size: int, learned: bool) -> list[bool]:
    """Vrai pour les tokens qui dépassent les `size` premiers octets : un token peut les chevaucher."""
    if not learned:
        return [False] * len(ids)
    ends = itertools.accumulate(len(tokenizer.token_bytes(i)) for i in ids)
    return [end > size for end in ends]


# Un tokeniseur de transformers


def _encode_with(tokenizer, template: str, messages, add_generation_prompt):
    """Le gabarit de Jinja ; les marques que contiennent les messages sont d’abord mises de côté.

    Neutralise les tokens dits spéciaux (<|im_end|>…) ; un token ajouté qui ne l’est pas, comme le
    <think> de Qwen, reste un token : l’assistant l’écrit.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError("un tokeniseur rapide est attendu : AutoTokenizer.from_pretrained(…)")
    specials = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    regex = re.compile("|".join(map(re.escape, sorted(specials, key=len, reverse=True))) or "(?!)")
    if not any(regex.search(message["content"]) for message in messages):
        encoded = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            return_dict=True,
            return_assistant_tokens_mask=bool(MARKED.search(template)),
        )
        ids = list(encoded["input_ids"])
        return ids, [bool(x) for x in encoded.get("assistant_masks", [0] * len(ids))]
    return _encode_injection(tokenizer, template, messages, add_generation_prompt, specials, regex)


def _encode_injection(tokenizer, template, messages, add_generation_prompt, specials, regex):
    """Met les marques des messages entre guillemets, rend, puis coupe aux marques restées nues."""
    from transformers.utils.chat_template_utils import render_jinja_template

    used = set("".join(message["content"] for message in messages))
    quote = next(c for c in map(chr, range(0xE000, 0xF900)) if c not in used)  # usage privé
    quoted = [
        {**m, "content": regex.sub(lambda mark: quote + mark[0] + quote, m["content"])}
        for m in messages
    ]
    (text,), (spans,) = render_jinja_template(
        conversations=[quoted],
        chat_template=template,
        return_assistant_tokens_mask=True,
        add_generation_prompt=add_generation_prompt,
        **tokenizer.special_tokens_map,
    )
    learned = [False] * len(text)  # par caractère
    for first, last in spans:
        learned[first:last] = [True] * (last - first)
    ids, mask, start = [], [], 0
    naked = re.finditer(f"{quote}[^{quote}]*{quote}|({regex.pattern})", text)
    cuts = [mark.span() for mark in naked if mark[1] is not None]
    for first, last in [*cuts, (len(text), len(text))]:
        kept = [i for i in range(start, first) if text[i] != quote]
        encoded = tokenizer(
            "".join(text[i] for i in kept),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        ids += encoded["input_ids"]
        mask += [any(learned[i] for i in kept[a:b]) for a, b in encoded["offset_mapping"]]
        if first < last:
            ids.append(specials[text[first:last]])
            mask.append(learned[first])
        start = last
    return ids, mask
