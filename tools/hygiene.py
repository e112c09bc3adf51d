"""Ce qu’un carnet publié doit respecter pour se lire comme une page (chapter.md, « hygiène »)."""

import re

from nbformat import NotebookNode

from tools.pages import code_cells

MAX_LINES = 40
MAX_PNG_BYTES = 1_000_000
FORBIDDEN_OUTPUTS = {
    "image/svg+xml": "SVG",
    "application/vnd.jupyter.widget-view+json": "widget",
    "application/javascript": "JavaScript",
}


def budget(notebook: NotebookNode) -> dict | None:
    """Le budget déclaré {seconds, memory_mb}, ou None s’il manque."""
    declared = notebook.metadata.get("llmbook", {}).get("budget")
    if isinstance(declared, dict) and {"seconds", "memory_mb"} <= declared.keys():
        return dict(declared)
    return None


def problems(notebook: NotebookNode) -> list[str]:
    """Les défauts d’un carnet exécuté, une phrase chacun."""
    found = []
    if budget(notebook) is None:
        found.append("pas de budget : `budget: {seconds: 60, memory_mb: 900}` sous `llmbook:`")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found += block_problems(cell.source)
    weight = 0
    for number, cell in enumerate(code_cells(notebook), start=1):
        found += [f"cellule de code {number} : {problem}" for problem in cell_problems(cell)]
        for output in cell.outputs:
            weight += len(output.get("data", {}).get("image/png", "")) * 3 // 4
    if weight > MAX_PNG_BYTES:
        found.append(f"{weight / 1e6:.1f} Mo d’images (1 Mo au plus par carnet)")
    return found


def block_problems(source: str) -> list[str]:
    """Un bloc `:::` doit s’ouvrir et se fermer entre les deux mêmes cellules de code."""
    opened, code = [], ""
    for line in source.splitlines():
        fence = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence and not code:
            code = fence[1]
        elif code and line.strip() == code:
            code = ""
        elif not code and (block := re.match(r"\s*(:{3,})(\{.*)?$", line.rstrip())):
            if block[2]:
                opened.append(line.strip())
            elif opened:
                opened.pop()
            else:
                opened = ["fermé par " + line.strip()]
                break
    return [f"bloc {opened[0]} coupé par une cellule de code ou jamais fermé"] if opened else []


def cell_problems(cell: NotebookNode) -> list[str]:
    found = []
    lines = len(cell.source.splitlines())
    if lines > MAX_LINES:
        found.append(f"{lines} lignes ({MAX_LINES} au plus)")
    if re.search(r"^\s*%%?time", cell.source, re.MULTILINE):
        found.append("%time ou %timeit : un temps brut ne se compare pas ; affichez un rapport")
    raised = any(output.output_type == "error" for output in cell.outputs)
    if "raises-exception" in cell.metadata.get("tags", []) and not raised:
        found.append("étiquetée raises-exception, elle n’a pas échoué")
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream" and output.name == "stderr":
            found.append(f"sortie d’erreur : {output.text.strip().splitlines()[-1]!r}")
        elif re.search(r"^\S.*Warning: ", output.get("text", ""), re.MULTILINE):
            found.append("avertissement dans la sortie")
        if any(kind.startswith("image/") for kind in data):
            image = cell.metadata.get("mystnb", {}).get("image", {})
            if not str(image.get("alt", "")).strip():
                found.append('image sans texte de remplacement (`mystnb: image: {alt: "…"}`)')
        for kind, label in FORBIDDEN_OUTPUTS.items():
            if kind in data:
                found.append(f"sortie {label} : à remplacer par une image PNG ou du texte")
        if "text/html" in data:
            found.append("sortie HTML : à remplacer par du texte (print) ou une figure")
    return found
