"""Le paquet du livre : ce que deux sections au moins utilisent."""

__version__ = "0.1.0"
