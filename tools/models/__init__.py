"""Les modèles du livre, et la cible `modele` : corpus, tokeniseur, entraînement, carte.

    python -m tools modele corpus            assemble les documents, écarte les doublons et le retenu
    python -m tools modele tokeniseur        apprend le tokeniseur commun, range le corpus en tokens
    python -m tools modele entrainer nano    entraîne models/nano (ou petit), reprend si on l’arrête
    python -m tools modele mesurer nano      mesure sur les textes retenus, écrit la carte de modèle

Rien n’est téléchargé : tout vient de ce que l’installation complète du livre a posé sur le disque.
"""

from tools.messages import Panne

STEPS = ("corpus", "tokeniseur", "entrainer", "mesurer")


def main(options):
    from tools.models import card, corpus, training

    step, *rest = options or ("",)
    actions = {
        "corpus": corpus.main,
        "tokeniseur": corpus.tokenize_main,
        "entrainer": training.main,
        "mesurer": card.main,
    }
    if step not in actions:
        raise Panne(
            f"Étape inconnue : {step!r}.", f"Choisissez parmi : {', '.join(STEPS)} (dans l’ordre)."
        )
    return actions[step](rest)
