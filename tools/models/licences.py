"""Quelles distributions entrent dans le corpus : celles des extras, sous une licence permissive.

La licence est celle que déclarent les métadonnées. Une licence inconnue, réciproque (GPL, LGPL,
MPL, EPL) ou seulement en partie permissive met la distribution dehors ; elle est alors nommée.
"""

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = re.compile(
    r"\b(?:MIT(?:-0|-CMU)?|0?BSD(?:-[234]-Clause)?|BSL-1\.0|Apache(?:[- ]2\.0)?|PSF(?:-2\.0|L)?|"
    r"Python Software Foundation|ISC|Zlib|CC0-1\.0|Unlicense|HPND|CNRI-Python|Public Domain)\b",
    re.IGNORECASE,
)
RECIPROCAL = re.compile(r"GPL|GNU |MPL|Mozilla|EPL|Eclipse|CDDL|CC[- ]BY|EUPL|Proprietary", re.I)
# Une mention en tête d’un fichier : il vient d’ailleurs, quelle que soit la licence du paquet.
FOREIGN = re.compile(
    r"GNU (?:Lesser|Library|Affero|General)|\bL?GPL|Mozilla Public|Eclipse Public|\bMPL", re.I
)


def declared_licence(distribution: Distribution) -> str:
    """La licence déclarée : expression SPDX, sinon classificateurs, sinon premier mot du texte."""
    metadata = distribution.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        line.split(" :: ")[-1]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::") and "DFSG" not in line
    ]
    if classifiers:
        return " ; ".join(classifiers)
    lines = (metadata.get("License") or "").strip().splitlines()
    return lines[0].strip() if lines else "non déclarée"


def is_permissive(licence: str) -> bool:
    """Vrai si toute alternative obligée est permissive ; « A OR B » suffit si l’une l’est."""
    return any(
        PERMISSIVE.search(choice) and not RECIPROCAL.search(choice)
        for choice in re.split(r"\s+OR\s+", licence)
    )


def installed(site: Path) -> dict[str, Distribution]:
    """Distributions d’un dossier site-packages, par nom normalisé, triées."""
    found = {}
    for distribution in distributions(path=[str(site)]):
        if distribution.metadata["Name"]:
            found[canonicalize_name(distribution.metadata["Name"])] = distribution
    return dict(sorted(found.items()))


def closure(wanted: Iterable[str], available: dict[str, Distribution]) -> list[str]:
    """Noms de ce que `wanted` (des exigences) entraîne, parmi `available`, triés.

    Les marqueurs (`python_version < "3.12"`, extras) sont évalués sur cette machine.
    """
    todo, seen = [_requirement(line) for line in wanted], set()
    while todo:
        requirement = todo.pop()
        if requirement is None:
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if name not in available or (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in available[name].requires or []:
                child = _requirement(line)
                if child and (child.marker is None or child.marker.evaluate({"extra": extra})):
                    todo.append(child)
    return sorted({name for name, _ in seen})


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None
