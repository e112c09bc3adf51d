"""Un assistant français par LoRA : le même script pour le modèle livré et pour un 7 milliards.

    python -m tools.affinage assistant --sortie mon-assistant
        affine models/nano sur deux cœurs, quelques minutes

    python -m tools.affinage assistant --modele Qwen/Qwen2.5-7B --bits 4 --recalcul \\
        --lot 1 --accumulation 16 --sortie mon-assistant
        un modèle de 7 milliards, sur une carte de 24 Go

    --donnees composes,dialogues,taches    les jeux du livre, ou un fichier .jsonl de messages
    --plafond 24                           refuse de prendre plus de 24 Go, pour essayer
    --hasard "7 G"                         des poids tirés au hasard : mémoire et débit, sans télécharger

Écrit l’adaptateur au format de PEFT. Une interruption (Ctrl+C) l’écrit aussi, tel qu’il est.
"""

import argparse
import json
import time
from pathlib import Path

from tools.affinage.experience import ROOT
from tools.messages import Panne, Progress, duration, say


def main(options) -> int:
    chosen = parsed(options)
    import torch

    from llmbook import runtime

    device = torch.device(chosen.appareil) if chosen.appareil else runtime.device()
    if chosen.plafond:
        cap(chosen.plafond, device)
    torch.manual_seed(chosen.graine)
    try:
        run(chosen, device)
    except ValueError as error:
        raise Panne(str(error), "Rien n’a été écrit.") from None
    except torch.OutOfMemoryError:
        raise Panne(
            "La carte n’a plus de mémoire.",
            "Essayez --bits 4, --recalcul, --lot 1, ou un --contexte plus court.",
        ) from None
    return 0


def parsed(options) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.affinage assistant",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--modele", default=str(ROOT / "models" / "nano"))
    parser.add_argument(
        "--hasard", help="une taille de tools.affinage.memoire, par exemple « 7 G »"
    )
    parser.add_argument("--donnees", default="composes,dialogues")
    parser.add_argument("--bits", type=int, choices=(4, 16, 32), default=32)
    parser.add_argument("--rang", type=int, default=8)
    parser.add_argument("--alpha", type=float, help="deux fois le rang par défaut")
    parser.add_argument("--cibles", default="all-linear", help="noms séparés par des virgules")
    parser.add_argument("--taux", type=float, help="2e-3 sous 100 M de paramètres, 2e-4 au-delà")
    parser.add_argument("--epoques", type=float, default=1.0)
    parser.add_argument("--pas", type=int, help="un nombre de pas, au lieu d’époques")
    parser.add_argument("--lot", type=int, default=16)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--contexte", type=int, default=512)
    parser.add_argument("--recalcul", action="store_true", help="activations recalculées")
    parser.add_argument("--paquets", action="store_true", help="met plusieurs exemples par suite")
    parser.add_argument("--plafond", type=float, help="Go de mémoire de la carte, au plus")
    parser.add_argument("--appareil", help="cpu, cuda… ; la carte s’il y en a une")
    parser.add_argument("--graine", type=int, default=0)
    parser.add_argument("--sortie", type=Path, required=True)
    return parser.parse_args(options)


def cap(gigabytes: float, device) -> None:
    """L’allocateur de torch refusera d’aller au-delà."""
    import torch

    if device.type != "cuda":
        raise Panne("--plafond borne la mémoire d’une carte : il n’y en a pas ici.", "Retirez-le.")
    index = device.index or 0
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total), index)


def run(chosen, device) -> None:
    import torch

    from llmbook import lora
    from llmbook.batches_sft import SupervisedBatches, encode_examples
    from llmbook.finetuning import FinetuneConfig, finetune
    from llmbook.lora_files import save_adapter

    if chosen.sortie.exists() and any(chosen.sortie.iterdir()):
        raise ValueError(f"{chosen.sortie} n’est pas vide : donnez un autre dossier à --sortie")
    model, tokenizer = loaded(chosen, device)
    examples = encode_examples(tokenizer, dialogues(chosen.donnees), chosen.contexte, "skip")
    targets = chosen.cibles if chosen.cibles == "all-linear" else tuple(chosen.cibles.split(","))
    alpha = 2 * chosen.rang if chosen.alpha is None else chosen.alpha
    lora.inject(model, lora.LoraConfig(rank=chosen.rang, alpha=alpha, targets=targets))
    trained, total = lora.count_parameters(model)
    say(
        f"{len(examples)} exemples ; {trained / 1e6:.2f} M de paramètres entraînés sur "
        f"{total / 1e6:.0f} M ({100 * trained / total:.2f} %), sur {device}"
    )
    rate = chosen.taux or (2e-3 if total < 100e6 else 2e-4)
    batches = SupervisedBatches(
        examples, chosen.lot, chosen.contexte, seed=chosen.graine, packing=chosen.paquets
    )
    config = FinetuneConfig(
        steps=chosen.pas,
        epochs=None if chosen.pas else chosen.epoques,
        learning_rate=rate,
        accumulate=chosen.accumulation,
        precision="bfloat16" if device.type == "cuda" else "float32",
        gradient_checkpointing=chosen.recalcul,
    )
    progress, start = Progress(), time.perf_counter()
    try:
        for step in finetune(model, batches, config):
            progress.show(
                f"pas {step.step}/{step.steps} · perte {step.loss:.3f} · "
                f"{step.tokens_per_s:.0f} tokens appris/s"
            )
    except KeyboardInterrupt:
        say("Interrompu : l’adaptateur est écrit tel qu’il est.")
    progress.close()
    save_adapter(model, chosen.sortie, base_name=chosen.modele)
    size = sum(path.stat().st_size for path in chosen.sortie.iterdir())
    say(
        f"{duration(time.perf_counter() - start)}, {size / 1e6:.1f} Mo écrits dans {chosen.sortie}."
    )
    if device.type == "cuda":
        say(f"Mémoire de pointe : {torch.cuda.max_memory_allocated() / 1e9:.1f} Go.")


def loaded(chosen, device):
    """Le modèle, en 4, 16 ou 32 bits, et son tokeniseur ; un gabarit ChatML s’il n’en a pas."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmbook.hf_quantized import load_quantized
    from llmbook.quantization_nf4 import quantize_linears

    if chosen.hasard:
        from tools.affinage import memoire

        if chosen.hasard not in memoire.SHAPES:
            raise ValueError(f"--hasard {chosen.hasard} : choisir {', '.join(memoire.SHAPES)}")
        dtype = torch.float32 if chosen.bits == 32 else torch.bfloat16
        model = memoire.build(memoire.config_of(chosen.hasard), dtype, device)
        if chosen.bits == 4:
            quantize_linears(model)
        return model, AutoTokenizer.from_pretrained(ROOT / "models" / "nano")
    tokenizer = marked(AutoTokenizer.from_pretrained(chosen.modele))
    dtype = torch.float32 if chosen.bits == 32 or device.type == "cpu" else torch.bfloat16
    if chosen.bits == 4:
        return load_quantized(chosen.modele, dtype=dtype, device=device), tokenizer
    return AutoModelForCausalLM.from_pretrained(chosen.modele, dtype=dtype).to(device), tokenizer


def marked(tokenizer):
    """Un gabarit qui dit ce qui s’apprend : celui du tokeniseur, ou ChatML s’il en a les marques.

    Les gabarits publiés n’ont presque jamais de {% generation %} : Qwen 2.5 écrit du ChatML, sans dire
    quelle part est de l’assistant. Les autres familles demandent un gabarit d’entraînement.
    """
    from llmbook.chat_template import CHATML, END, MARKED, START

    template = tokenizer.chat_template
    if template and not MARKED.search(template) and {START, END} <= tokenizer.get_vocab().keys():
        tokenizer.chat_template = CHATML
        say("Gabarit : ChatML avec ses marques d’apprentissage, à la place de celui du modèle.")
    return tokenizer


def dialogues(wanted: str) -> list[dict]:
    """Les parts d’apprentissage des jeux du livre, ou un fichier .jsonl {"messages": […]}."""
    from llmbook import instructions

    if not wanted.endswith(".jsonl"):
        names = wanted.split(",")
        if unknown := set(names) - set(instructions.SETS):
            raise ValueError(
                f"jeux inconnus : {', '.join(sorted(unknown))} ; choisir parmi "
                f"{', '.join(instructions.SETS)}, ou donner un fichier .jsonl"
            )
        return [record for name in names for record in instructions.load(name, "train")]
    found = []
    try:
        lines = Path(wanted).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{wanted} ne se lit pas : {error.strerror}") from None
    for number, line in enumerate(lines, start=1):
        try:
            found.append({"id": f"ligne {number}", "messages": json.loads(line)["messages"]})
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{wanted}, ligne {number} : un objet JSON avec « messages » est attendu"
            ) from None
    return found
