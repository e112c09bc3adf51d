"""llmbook.figures : français, contrastes, étiquettes posées sur leurs courbes."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from llmbook import figures  # noqa: E402

NB = "\u202f"


@pytest.fixture(autouse=True)
def book_style():
    with mpl.rc_context():
        figures.use_book_style()
        yield
        plt.close("all")


def tick_texts(axis):
    axis.figure.canvas.draw()
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (3.14159, 2, "3,14"),
        (-1234.5, 1, f"−1{NB}234,5"),
        (1234567, None, f"1{NB}234{NB}567"),
        (2.5, None, "2,50"),
        (4.0, None, "4"),
        (-0.001, 2, "0,00"),
        (np.float32(0.5), 1, "0,5"),
        (np.inf, None, "∞"),
        (-np.inf, 3, "−∞"),
        (np.nan, None, "nan"),
        (np.int64(12), None, "12"),
    ],
)
def test_fr(x, digits, text):
    assert figures.fr(x, digits) == text


def test_new_has_the_book_size():
    fig, ax = figures.new()
    assert tuple(fig.get_size_inches()) == (6.4, 4.0) and fig.dpi == 100
    fig, axes = figures.new(2, 3, height=5, sharex=True)
    assert axes.shape == (2, 3) and fig.get_size_inches()[1] == 5


def test_ground_is_transparent(tmp_path):
    fig, ax = figures.new()
    ax.plot([0, 1])
    fig.savefig(tmp_path / "f.png")
    pixels = plt.imread(tmp_path / "f.png")
    assert pixels.shape == (400, 640, 4) and pixels[0, 0, 3] == 0


def test_ticks_are_french():
    fig, ax = figures.new()
    ax.plot([-1, 1], [0, 20_000])
    assert {"−0,50", "0,00", "0,50"} <= set(tick_texts(ax.xaxis))
    assert {f"5{NB}000", f"20{NB}000"} <= set(tick_texts(ax.yaxis))
    fig, ax = figures.new()
    ax.plot([2017, 2026], [0, 1])
    assert "2018" in tick_texts(ax.xaxis)  # une année reste une année


def test_common_factor_is_written_as_a_power():
    fig, ax = figures.new()
    ax.plot([0, 3e9], [0, 2e-7])
    fig.canvas.draw()
    assert ax.xaxis.get_offset_text().get_text() == "×10⁹"
    assert ax.yaxis.get_offset_text().get_text() == "×10⁻⁷"


def test_colour_bar_and_heatmap_are_french():
    fig, ax = figures.new()
    image = figures.heatmap(
        ax,
        [[-0.5, 0.25], [0, 0.1]],
        rows=["a", "b"],
        columns=["socket", "tuple"],
        diverging=True,
        digits=2,
        label="PPMI",
    )
    assert image.get_clim() == (-0.5, 0.5) and image.cmap.name == figures.DIVERGING
    fig.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ["−0,50", "0,25", "0,00", "0,10"]
    assert any("," in text for text in tick_texts(fig.axes[1].yaxis))
    assert fig.axes[1].get_ylabel() == "PPMI"
    with pytest.raises(ValueError, match="matrice"):
        figures.heatmap(ax, [1, 2])


def test_series_differ_by_lightness_and_dash():
    fig, ax = figures.new()
    lines = [ax.plot([i, i + 1])[0] for i in range(4)]
    assert [line.get_color() for line in lines] == list(figures.COLORS)
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4
    luminance = [figures.contrast(color, "black") for color in figures.COLORS]
    assert luminance == sorted(luminance) and len(set(luminance)) == 4


def test_contrast_follows_wcag():
    assert figures.contrast("white", "black") == pytest.approx(21)
    assert figures.contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)
    for color in figures.COLORS:
        assert figures.contrast(figures.text_color(color), figures.PAPER) >= 4.5
    assert figures.contrast(figures.INK, figures.PAPER) > 15


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_label_is_on_the_curve(scale):
    fig, ax = figures.new()
    ax.set(xscale=scale, yscale=scale)
    line = ax.plot([1, 10, 100], [100, 10, 1], label="perte")
    end = figures.label_line(ax, line)
    assert end.xy == (100, 1) and end.get_text() == "perte"
    middle = figures.label_line(ax, line[0], "ici", x=50)
    expected = 100 / 50 if scale == "log" else np.interp(50, [10, 100], [10, 1])
    assert middle.xy == pytest.approx((50, expected))
    assert middle.get_ha() == "left"  # la courbe descend
    assert mpl.colors.to_rgb(middle.get_color()) == figures.text_color(figures.COLORS[0])


def test_label_line_details():
    fig, ax = figures.new()
    rising = figures.label_line(ax, ax.plot([3, 1, 2], [3, 1, 2]), "x", x=2.5, offset=(1, 2))
    assert rising.get_ha() == "right" and rising.xyann == (1, 2) and rising.xy == (2.5, 2.5)
    assert figures.label_line(ax, ax.plot([0, 1], [1, 1]), "plat", x=0.5).get_ha() == "center"
    assert figures.label_line(ax, ax.plot([0, 1, 2], [1, 5, np.nan]), "bout").xy == (1, 5)
    figures.label_line(ax, ax.plot([2], [3]), "point", x=2, color="red")
    with pytest.raises(ValueError, match="aucun point"):
        figures.label_line(ax, ax.plot([], []))
    with pytest.raises(ValueError, match="hors de la courbe"):
        figures.label_line(ax, ax.plot([0, 1], [0, 1]), x=2)


def test_finding_wraps_long_titles():
    title = "La perte suit une droite en coordonnées logarithmiques, sur quatre ordres de grandeur"
    fig, axes = figures.new(1, 2)
    figures.finding(axes[0], title)
    figures.finding(fig, title)
    assert axes[0].get_title(loc="left").replace("\n", " ") == title
    assert fig.get_suptitle().count("\n") == 1


def test_labels_stay_inside_the_picture():
    fig, ax = figures.new()
    label = figures.label_line(ax, ax.plot([0, 1], [0, 1]), "une étiquette assez longue")
    fig.canvas.draw()
    assert label.get_window_extent().x1 <= fig.bbox.x1 + 1
