"""L’outillage du livre : `python -m tools CIBLE`, que `make CIBLE` ne fait qu’appeler."""
