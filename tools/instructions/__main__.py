"""`python -m tools.instructions composer | taches | empreintes` (plusieurs à la suite, au choix)."""

import importlib
import sys

from tools import messages
from tools.instructions.files import update_sums
from tools.messages import say

COMMANDS = {
    "composer": ("tools.instructions.compose", "compose composes.jsonl.xz"),
    "taches": ("tools.instructions.taches", "compose taches.jsonl.xz"),
    "empreintes": (None, "récrit SHA256SUMS, après un changement voulu des dialogues"),
}


def main(argv: list[str]) -> int:
    if not argv or set(argv) - set(COMMANDS):
        say("Commandes : python -m tools.instructions COMMANDE")
        say("\n".join(f"  {name:<11} {what}" for name, (_, what) in COMMANDS.items()))
        return 2
    for command in argv:
        module, _ = COMMANDS[command]
        if module:
            importlib.import_module(module).main()
        else:
            say(f"Empreintes de {len(update_sums())} fichiers récrites.")
    return 0


if __name__ == "__main__":
    messages.prepare_streams()
    sys.exit(messages.guard(lambda: main(sys.argv[1:])))
