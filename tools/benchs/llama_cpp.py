"""Décoder un texte à la fois : llama.cpp, notre FastDecoder et transformers, sur les mêmes poids.

À part de `make bench`, car llama.cpp se compile : installez-le dans un environnement à lui
(`pip install llama-cpp-python gguf safetensors`), dont le Python lance ce fichier. Celui du livre,
qui a torch, répond dans un second processus. Poids en float32, un fil. llama.cpp passe deux fois :
tout en float32, le même calcul que nous ; puis avec ses défauts, qui gardent le cache en float16.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":  # sinon « import llama_cpp » trouverait ce fichier-ci
    sys.path[0] = str(ROOT)

from tools.bench import THREADS, fr  # noqa: E402
from tools.messages import Panne, guard, say  # noqa: E402

N_TOKENS = 128
PROMPT = list(range(5, 21))
BOOK_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
REMEDY = (
    "Dans un environnement à part (llama.cpp se compile) : pip install llama-cpp-python gguf "
    "safetensors ; puis relancez avec le Python de cet environnement."
)


def write_gguf(folder, path):
    """Le Llama du dossier (`save_pretrained(folder, torch.float32)`) en GGUF float32, sans mots.

    Le tokeniseur « none » suffit : nous ne passons que des numéros. ValueError hors de Llama.
    """
    from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
    from safetensors.numpy import load_file

    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = described["rope_parameters"]
    if described["model_type"] != "llama" or rope["rope_type"] != "default":
        raise ValueError(
            f"{described['model_type']}, positions {rope['rope_type']} : seul un Llama aux "
            "positions « default » est converti ; pour les autres, convert_hf_to_gguf.py"
        )
    heads, kv_heads = described["num_attention_heads"], described["num_key_value_heads"]
    out = GGUFWriter(path, "llama")
    out.add_context_length(described["max_position_embeddings"])
    out.add_embedding_length(described["hidden_size"])
    out.add_block_count(described["num_hidden_layers"])
    out.add_feed_forward_length(described["intermediate_size"])
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_key_length(described["head_dim"])
    out.add_value_length(described["head_dim"])
    out.add_rope_dimension_count(described["head_dim"])
    out.add_rope_freq_base(rope["rope_theta"])
    out.add_layer_norm_rms_eps(described["rms_norm_eps"])
    out.add_vocab_size(described["vocab_size"])
    out.add_tokenizer_model("none")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, described["num_hidden_layers"])
    for name, weight in load_file(folder / "model.safetensors").items():
        theirs = names.get_name(name, try_suffixes=(".weight",))
        if "attn_q" in theirs or "attn_k" in theirs:
            weight = neighbours(weight, heads if "attn_q" in theirs else kv_heads)
        out.add_tensor(theirs, weight)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def neighbours(weight, heads):
    """(H·D, C) : Hugging Face tourne les lignes i et i + D/2 de chaque tête ; llama.cpp, pour un
    Llama, les lignes 2i et 2i + 1."""
    halves = weight.reshape(heads, 2, -1, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


# --- llama.cpp, par son interface C -------------------------------------------------------------


class LlamaCpp:
    """Décode par `llama_decode` : la classe `Llama` du paquet ferait perdre du temps en copies."""

    def __init__(self, path, exact):
        import llama_cpp as C

        self.C = C
        self.log = C.llama_log_callback(lambda *_: None)  # gardé en vie, llama.cpp l’appelle
        C.llama_log_set(self.log, None)
        C.llama_backend_init()
        options = C.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = C.llama_model_load_from_file(str(path).encode(), options)
        options = C.llama_context_default_params()
        options.n_ctx = 256  # il tient PROMPT et N_TOKENS
        options.n_threads = options.n_threads_batch = 1
        if exact:
            options.type_k = options.type_v = C.GGML_TYPE_F32
            options.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED  # elle arrondit en float16
        self.context = C.llama_init_from_model(self.model, options)
        if not self.model or not self.context:
            raise Panne("llama.cpp refuse le modèle converti.", "Essayez une autre version.")
        self.V = C.llama_vocab_n_tokens(C.llama_model_get_vocab(self.model))

    def read(self, tokens):
        """Les logits (V,) qui suivent ces tokens : une vue, réécrite à l’appel suivant."""
        array = (self.C.llama_token * len(tokens))(*tokens)
        if self.C.llama_decode(self.context, self.C.llama_batch_get_one(array, len(tokens))):
            raise Panne("llama_decode a échoué.", "Essayez une autre version de llama.cpp.")
        return np.ctypeslib.as_array(self.C.llama_get_logits_ith(self.context, -1), (self.V,))

    def greedy(self, keep=None):
        """N_TOKENS tokens ; les logits de chaque pas sont ajoutés à keep."""
        self.C.llama_memory_clear(self.C.llama_get_memory(self.context), False)
        tokens, new = [], PROMPT
        while len(tokens) < N_TOKENS:
            logits = self.read(new)
            if keep is not None:
                keep.append(logits.copy())
            new = [int(logits.argmax())]
            tokens += new
        return tokens


# --- le Python du livre, dans l’autre processus -------------------------------------------------


def serve(name, folder):
    """Écrit le modèle en float32 dans `folder`, puis répond aux demandes, une par ligne."""
    import torch

    from llmbook.generation import generate
    from llmbook.generation_fast import FastDecoder
    from llmbook.model import LanguageModel

    torch.set_num_threads(1)
    model = LanguageModel.from_pretrained(name)
    model.save_pretrained(folder, torch.float32)
    theirs, decoder = model.to_hf(), FastDecoder(model)
    theirs.generation_config.eos_token_id = None
    ids = torch.tensor([PROMPT])

    def ours():
        return generate(model, PROMPT, max_tokens=N_TOKENS, temperature=None, decoder=decoder)

    def with_transformers():
        mask, options = torch.ones_like(ids), dict(do_sample=False, pad_token_id=0)
        out = theirs.generate(ids, attention_mask=mask, max_new_tokens=N_TOKENS, **options)
        return out[0, len(PROMPT) :].tolist()

    with torch.no_grad():
        text = torch.tensor([PROMPT + ours()[:-1]])
        np.save(folder / "logits.npy", model(text)[0, len(PROMPT) - 1 :].numpy())
        say("prêt")
        for line in sys.stdin:
            say(json.dumps(timed({"ours": ours, "transformers": with_transformers}[line.strip()])))


def timed(function):
    start = time.perf_counter()
    tokens = function()
    return time.perf_counter() - start, tokens


# --- la rencontre -------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modele", nargs="?", type=Path, default=ROOT / "models/nano")
    parser.add_argument("--tours", type=int, default=5, help="nombre de tours (5)")
    parser.add_argument("--livre", default=BOOK_PYTHON, help="le Python qui a torch et llmbook")
    parser.add_argument("--servir", type=Path, help=argparse.SUPPRESS)  # dans l’autre processus
    chosen = parser.parse_args()
    if chosen.servir:
        check_packages(("torch", "transformers"), "Passez à `--livre` le Python du livre.")
        return serve(chosen.modele, chosen.servir)
    check_packages(("llama_cpp", "gguf", "safetensors"), REMEDY)
    if not Path(chosen.livre).exists():
        raise Panne(f"{chosen.livre} n’existe pas.", "`make bench` le crée ; ou passez `--livre`.")
    with tempfile.TemporaryDirectory() as folder:
        meet(chosen, Path(folder))


def check_packages(names, remedy):
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise Panne(f"{name} manque à {sys.executable}.", remedy)


def meet(chosen, folder):
    """Vérifie que tous donnent les mêmes tokens, puis les chronomètre tour à tour."""
    command = [chosen.livre, __file__, chosen.modele.resolve(), "--servir", folder]
    env = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(ROOT)}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    with subprocess.Popen(list(map(str, command)), env=env, **pipes) as book:

        def answer():
            line = book.stdout.readline()
            if not line:
                raise Panne(f"{chosen.livre} s’est arrêté.", "Le message est ci-dessus.")
            return line

        def ask(name):
            book.stdin.write(name + "\n")
            book.stdin.flush()
            return json.loads(answer())

        answer()  # « prêt »
        write_gguf(folder, folder / "model.gguf")
        exact = LlamaCpp(folder / "model.gguf", exact=True)
        usual = LlamaCpp(folder / "model.gguf", exact=False)
        logits = []
        expected = exact.greedy(keep=logits)
        gap = np.abs(np.load(folder / "logits.npy") - logits).max()
        contestants = {
            "llama.cpp, float32": lambda: timed(exact.greedy),
            "llama.cpp, défauts": lambda: timed(usual.greedy),
            "FastDecoder": lambda: ask("ours"),
            "transformers": lambda: ask("transformers"),
        }
        if gap > 1e-3 or any(play()[1] != expected for play in contestants.values()):
            raise Panne(
                f"Les tokens diffèrent, ou les logits (écart {gap:.1e}).",
                "Un rapport de vitesse n’aurait pas de sens : corrigez d’abord le résultat.",
            )
        say(f"Mêmes {N_TOKENS} tokens ; plus grand écart de logits en float32 : {gap:.1e}")
        rates = {name: [] for name in contestants}
        for _ in range(chosen.tours):
            for name, play in contestants.items():
                rates[name].append(N_TOKENS / play()[0])
        book.stdin.close()
    for name, values in rates.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        say(f"{name:18} : {fr(middle)} tokens/s ({fr(low)} à {fr(high)})")
    if hasattr(os, "getloadavg"):
        say(f"{chosen.tours} tours, un fil ; charge de la machine : {fr(os.getloadavg()[0])}")


if __name__ == "__main__":
    sys.exit(guard(main))
