"""L’affinage mesuré : les balayages du chapitre 13, la mémoire par taille, l’assistant livré.

python -m tools.affinage balayages       des dizaines d’affinages de nano ; longs sans carte
python -m tools.affinage memoire         la mémoire d’un pas, de 5 M à 7 B, sur une carte
python -m tools.affinage instruct        entraîne models/nano-instruct, écrit sa carte
"""
