"""Registre des exercices : un module par section, nommé comme elle."""
