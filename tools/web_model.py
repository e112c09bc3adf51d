"""Un modèle prêt pour le navigateur : `python -m tools.web_model models/nano DOSSIER`.

Écrit les deux graphes ONNX, le tokeniseur, les poids coupés en éclats d’au plus 2 Mo, et un
manifeste qui donne la taille et l’empreinte de chaque fichier. Les éclats, mis bout à bout, sont la
partie « données » de model.safetensors, octet pour octet. Ni torch ni safetensors n’y sont
nécessaires : la construction du livre ne les a pas.
"""

import argparse
import hashlib
import json
import shutil
import struct
import sys
from pathlib import Path

from llmbook.onnx_export import ATTENTION, DECODER, attention_graph, decoder_graph
from tools import node
from tools.messages import Panne, guard, say

ROOT = Path(__file__).resolve().parent.parent
SHARD_BYTES = 2_000_000  # pair : un bf16 n’est jamais à cheval sur deux éclats
TYPES = {"BF16": 2, "F32": 4}
ENGINE = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MANIFEST = "manifeste.json"


def read_weights(path: Path) -> tuple[str, dict[str, tuple[int, ...]], memoryview]:
    """(type, nom -> forme, données) d’un fichier safetensors, dans l’ordre des données.

    Le fichier est : 8 octets pour la taille de l’en-tête, l’en-tête en JSON, puis les données.
    """
    raw = memoryview(path.read_bytes())
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(bytes(raw[8 : 8 + size]))
    header.pop("__metadata__", None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    kinds = {entry["dtype"] for _, entry in entries}
    if len(kinds) != 1 or not kinds <= TYPES.keys():
        raise ValueError(
            f"{path} contient {', '.join(sorted(kinds))} : le navigateur lit des poids tous en "
            "BF16, ou tous en F32. Récrivez-les : LanguageModel.from_pretrained(…)"
            ".save_pretrained(…)"
        )
    shapes = {name: tuple(entry["shape"]) for name, entry in entries}
    return kinds.pop(), shapes, raw[8 + size :]


def write_model(source: Path, target: Path) -> bool:
    """Écrit le modèle de `source` dans `target` ; faux si tout y était déjà, à l’identique.

    ValueError si le dossier n’est pas celui d’un Llama, d’un Mistral ou d’un Qwen en bf16 ou f32.
    """
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (source / name).is_file():
            raise ValueError(f"{source} ne contient pas {name}")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    kind, shapes, data = read_weights(source / "model.safetensors")
    graphs = [(DECODER, decoder_graph), (ATTENTION, attention_graph)]
    files = {name: make(config, shapes).SerializeToString() for name, make in graphs}
    files["tokenizer.json"] = (source / "tokenizer.json").read_bytes()
    starts = range(0, len(data), SHARD_BYTES)
    shards = {f"poids-{i:02}.bin": data[a : a + SHARD_BYTES] for i, a in enumerate(starts)}
    files |= shards
    heads = config["num_attention_heads"]
    described = {
        "nom": source.name,
        "vocabulaire": config["vocab_size"],
        "contexte": config["max_position_embeddings"],
        "couches": config["num_hidden_layers"],
        "tetes": heads,
        "tetes_kv": config.get("num_key_value_heads") or heads,
        "taille_tete": config.get("head_dim") or config["hidden_size"] // heads,
        "fin": config.get("eos_token_id"),
        "type": kind,
        "nombre": len(data) // TYPES[kind],
        "eclats": list(shards),
        "fichiers": {name: seal(content) for name, content in files.items()},
    }
    text = json.dumps(described, ensure_ascii=False, indent=1)
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.glob("poids-*.bin"):
        if stale.name not in shards:
            stale.unlink()
    written = [write(target / name, content) for name, content in files.items()]
    return any([write(target / MANIFEST, text.encode()), *written])


def seal(content) -> dict:
    return {"octets": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write(path: Path, content) -> bool:
    """Écrit le fichier s’il diffère ; vrai s’il a été écrit."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.write_bytes(content)
    return True


def write_engine(target: Path, packages: Path = node.NPM) -> str | None:
    """Copie onnxruntime-web dans `target`. None, ou la raison pour laquelle il manque."""
    source = packages / "node_modules" / "onnxruntime-web"
    reason = node.install(packages)
    if not all((source / "dist" / name).is_file() for name in ENGINE):
        shutil.rmtree(target, ignore_errors=True)
        return reason or "node_modules/ est incomplet : supprimez-le"
    target.mkdir(parents=True, exist_ok=True)
    files = {name: (source / "dist" / name).read_bytes() for name in ENGINE}
    version = json.loads((source / "package.json").read_text(encoding="utf-8"))["version"]
    described = {"version": version, "fichiers": {n: seal(c) for n, c in files.items()}}
    files[MANIFEST] = json.dumps(described, indent=1).encode()
    for name, content in files.items():
        write(target / name, content)
    return None


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.web_model", description=__doc__)
    parser.add_argument("modele", type=Path, help="un dossier de modèle, par exemple models/nano")
    parser.add_argument("dossier", type=Path, help="où écrire les fichiers de la page")
    parser.add_argument("--moteur", type=Path, help="où copier aussi onnxruntime-web")
    chosen = parser.parse_args()
    try:
        changed = write_model(chosen.modele, chosen.dossier)
    except ValueError as error:
        raise Panne(str(error), "Donnez un dossier de modèle : models/nano.") from error
    if chosen.moteur and (reason := write_engine(chosen.moteur)):
        raise Panne(f"onnxruntime-web manque ({reason}).", "Installez Node.js et npm.")
    size = sum(path.stat().st_size for path in chosen.dossier.iterdir())
    count = len(list(chosen.dossier.iterdir()))
    state = "écrits" if changed else "déjà à jour"
    say(f"{count} fichiers, {size / 1e6:.1f} Mo, {state} dans {chosen.dossier}.")


if __name__ == "__main__":
    sys.exit(guard(main))
