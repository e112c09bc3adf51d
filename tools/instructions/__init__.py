"""Le générateur des jeux de llmbook/data/instructions : `python -m tools.instructions`."""
