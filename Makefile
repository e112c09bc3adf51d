# Ce fichier ne fait que transmettre : le travail est dans tools/ (« python -m tools CIBLE »).
PYTHON ?= python3
CIBLES := livre test test-rapide lab notebooks bench modele corpus pdf etat nettoyer
export PORT SERVE

.DEFAULT_GOAL := aide
.PHONY: aide $(CIBLES)

aide:
	@$(PYTHON) -m tools

$(CIBLES):
	@$(PYTHON) -m tools $@ $(OPTIONS)
