"""Aiguille `python -m tools.affinage ÉTAPE`."""

import sys

from tools import messages
from tools.messages import Panne

STEPS = ("assistant", "balayages", "memoire", "voies", "instruct")


def main(options) -> int:
    step, *rest = options or ("",)
    if step not in STEPS:
        raise Panne(f"Étape inconnue : {step!r}.", f"Choisissez parmi : {', '.join(STEPS)}.")
    from importlib import import_module

    return import_module(f"tools.affinage.{step}").main(rest)


if __name__ == "__main__":
    messages.prepare_streams()
    sys.exit(messages.guard(lambda: main(sys.argv[1:])))
