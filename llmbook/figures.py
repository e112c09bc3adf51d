"""Le style des figures du livre : français, lisible en gris, en petit et sur fond sombre."""

import re
import textwrap

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.scale import LinearScale, register_scale
from matplotlib.ticker import MaxNLocator, ScalarFormatter

COLORS = ("#12355B", "#A34A15", "#009E73", "#E69F00")  # clartés L* : 22, 42, 58, 71
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
MARKERS = ("o", "s", "^", "D")  # pour `marker=` : points peu nombreux
SEQUENTIAL = "cividis"
DIVERGING = "PuOr_r"  # milieu neutre, sans vert ni rouge
INK, MUTED, PAPER = "#1F2328", "#57606A", "#FBFAF7"
THIN_SPACE, MINUS = "\N{NARROW NO-BREAK SPACE}", "\N{MINUS SIGN}"
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def use_book_style() -> None:
    """Règle matplotlib pour tout le notebook. La page inverse les encres en thème sombre."""
    register_scale(FrenchLinearScale)
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 4.0),
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "figure.constrained_layout.use": True,
            "font.family": ["DejaVu Sans"],
            "font.size": 12,
            "mathtext.fontset": "dejavusans",
            "axes.titlesize": 13,
            "axes.titlelocation": "left",
            "axes.titlepad": 10,
            "axes.labelsize": 12,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "legend.fontsize": 11,
            "legend.frameon": False,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.edgecolor": MUTED,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": MUTED,
            "grid.alpha": 0.2,
            "grid.linewidth": 0.7,
            "axes.axisbelow": True,
            "axes.formatter.useoffset": False,
            "axes.unicode_minus": True,
            "lines.linewidth": 2.0,
            "lines.markersize": 5.5,
            "image.cmap": SEQUENTIAL,
            "axes.prop_cycle": cycler(color=COLORS, linestyle=DASHES),
        }
    )


def new(nrows: int = 1, ncols: int = 1, height: float = 4.0, **subplots):
    """Figure de 6,4 pouces de large et `height` de haut ; renvoie (fig, ax ou tableau d’ax)."""
    return plt.subplots(nrows, ncols, figsize=(6.4, height), **subplots)


def finding(ax, title: str, width: int = 60) -> None:
    """Écrit en titre ce que montre ax : un repère, ou la figure s’il y en a plusieurs."""
    lines = "\n".join(textwrap.wrap(title, width))
    if hasattr(ax, "suptitle"):
        ax.suptitle(lines, x=0.01, ha="left", fontsize=mpl.rcParams["axes.titlesize"])
    else:
        ax.set_title(lines)


def label_line(
    ax,
    line,
    text: str | None = None,
    *,
    x: float | None = None,
    offset: tuple[float, float] | None = None,
    **options,
):
    """Écrit le nom d’une courbe sur elle, dans sa couleur : à son bout droit, ou à l’abscisse `x`.

    À appeler après avoir choisi les échelles du repère.
    line : ce que renvoie `ax.plot` ; text : par défaut le `label` de la courbe.
    offset : décalage en points ; options : celles de `ax.annotate`. Renvoie l’annotation.
    ValueError si la courbe est vide, ou si `x` n’est pas sur elle.
    """
    line = line[0] if isinstance(line, (list, tuple)) else line
    xs, ys = (np.asarray(data, dtype=float) for data in line.get_data())
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    if not len(xs):
        raise ValueError("la courbe n’a aucun point à nommer")
    order = np.argsort(xs, kind="stable")
    xs, ys = xs[order], ys[order]
    if x is None:
        point, place = (xs[-1], ys[-1]), {"xytext": (7, 0), "ha": "left", "va": "center"}
    elif xs[0] <= x <= xs[-1]:
        point, slope = _point_and_slope(ax, xs, ys, x)
        side = int(np.sign(slope))  # du côté où la courbe n’est pas
        place = {
            "xytext": (-4 * side, 4),
            "ha": ("left", "center", "right")[side + 1],
            "va": "bottom",
        }
    else:
        raise ValueError(f"x={x} est hors de la courbe, qui va de {xs[0]:g} à {xs[-1]:g}")
    if offset is not None:
        place["xytext"] = offset
    style = {"color": text_color(line.get_color()), "fontsize": 11} | place | options
    return ax.annotate(text or line.get_label(), point, textcoords="offset points", **style)


def _point_and_slope(ax, xs, ys, x: float):
    """Point de la courbe d’abscisse x, et pente à cet endroit, dans les échelles du repère."""
    scaled_x, scaled_y = ax.transScale.transform(np.column_stack([xs, ys])).T
    at = ax.transScale.transform((x, ys[0]))[0]
    point = ax.transScale.inverted().transform((at, np.interp(at, scaled_x, scaled_y)))
    i = int(np.clip(np.searchsorted(scaled_x, at), 1, max(1, len(xs) - 1)))
    slope = scaled_y[min(i, len(xs) - 1)] - scaled_y[i - 1]
    return (x, point[1]), slope


def text_color(color) -> tuple[float, float, float]:
    """La même teinte, assombrie jusqu’à un contraste de 4,5 avec le papier (WCAG 2, AA)."""
    rgb = np.array(mpl.colors.to_rgb(color))
    while contrast(rgb, PAPER) < 4.5:
        rgb *= 0.97
    return tuple(rgb)


def contrast(a, b) -> float:
    """Rapport de contraste de deux couleurs, de 1 à 21 (WCAG 2)."""
    low, high = sorted(_luminance(color) for color in (a, b))
    return (high + 0.05) / (low + 0.05)


def _luminance(color) -> float:
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def heatmap(
    ax,
    M,
    *,
    rows=None,
    columns=None,
    diverging: bool = False,
    label: str = "",
    digits: int | None = None,
):
    """Matrice en couleurs, avec son échelle. M : (m, n) ; renvoie l’image.

    rows, columns : noms des lignes et des colonnes ; label : légende de l’échelle, avec l’unité ;
    diverging : zéro au milieu de la carte ; digits : écrit aussi chaque valeur.
    """
    M = np.asarray(M, dtype=float)
    if M.ndim != 2 or not M.size:
        raise ValueError(f"une matrice non vide est attendue, reçu un tableau de forme {M.shape}")
    limits = {}
    if diverging:
        limits = {"vmin": -np.nanmax(np.abs(M)), "vmax": np.nanmax(np.abs(M))}
    image = ax.imshow(M, cmap=DIVERGING if diverging else SEQUENTIAL, aspect="auto", **limits)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    if rows is not None:
        ax.set_yticks(range(len(M)), rows)
    if columns is not None:
        long = max(map(len, columns)) > 3
        ax.set_xticks(
            range(M.shape[1]),
            columns,
            rotation=45 if long else 0,
            ha="right" if long else "center",
            rotation_mode="anchor" if long else None,
        )
    if digits is not None:
        for (i, j), value in np.ndenumerate(M):
            cell = image.cmap(image.norm(value))
            ink = max(("white", INK), key=lambda color: contrast(color, cell))
            ax.text(j, i, fr(value, digits), ha="center", va="center", fontsize=10, color=ink)
    return image


def fr(x: float, digits: int | None = None) -> str:
    """Le nombre écrit en français : fr(-1234.5, 1) donne −1 234,5.

    digits : décimales ; par défaut aucune pour un entier, deux sinon.
    """
    if not np.isfinite(x):
        return "nan" if np.isnan(x) else "∞" if x > 0 else MINUS + "∞"
    if digits is None:
        digits = 0 if float(x).is_integer() else 2
    text = f"{x:,.{digits}f}"
    if not re.search("[1-9]", text):
        text = text.removeprefix("-")  # pas de −0,00
    return text.replace(",", THIN_SPACE).replace(".", ",").replace("-", MINUS)


class FrenchFormatter(ScalarFormatter):
    """Graduations : virgule décimale, milliers séparés si l’axe atteint 10 000."""

    def __call__(self, x, pos=None) -> str:
        text = super().__call__(x, pos)
        head, _, tail = text.partition(".")
        if np.abs(self.axis.get_view_interval()).max() >= 10_000:  # 2017 reste une année
            head = re.sub(r"(?<=\d)(?=(\d{3})+$)", THIN_SPACE, head)
        return f"{head},{tail}" if tail else head

    def get_offset(self) -> str:
        """Facteur commun des graduations : ×10⁶ plutôt que 1e6."""
        _, exponent, power = super().get_offset().replace(MINUS, "-").partition("e")
        return f"×10{power.translate(SUPERSCRIPTS)}" if exponent else ""


class FrenchLinearScale(LinearScale):
    """L’échelle « linear » de matplotlib, avec nos graduations, barres de couleurs comprises."""

    def __init__(self, *_):  # matplotlib < 3.11 donne l’axe ; les suivants, rien
        super().__init__(None)

    def set_default_locators_and_formatters(self, axis) -> None:
        super().set_default_locators_and_formatters(axis)
        axis.set_major_formatter(FrenchFormatter())
