"""Les fichiers de mesures que lisent les pages : un en-tête, puis une ligne de texte par mesure."""

import json
from pathlib import Path


def write_rows(path: Path, head: dict, rows: list[dict]) -> None:
    """Écrit {**head, "lignes": rows}, d’un coup : un arrêt laisse l’ancien fichier entier."""
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    start = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'{start},\n "lignes": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    temporary.replace(path)
