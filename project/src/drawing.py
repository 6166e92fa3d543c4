"""How figures look, and how they become files: the same colours, letters and bytes everywhere.

The bytes depend on what is drawn and on the version of Matplotlib alone.
"""

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart also by colour-blind readers; the markers and dashes differ too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F00", "#882255"]
MARKERS = "os^Dv<>P"
INK, QUIET, GRID = "#1B1F24", "#59636E", "#D5DAE0"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches wide and high."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axis: Axes, x: str, y: str, *, title: str = "") -> None:
    """Label the axes and clear away what carries nothing."""
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    if title:
        axis.set_title(title, fontsize=10, color=INK, loc="left")
    axis.grid(color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(color=GRID, labelcolor=QUIET)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GRID)


def as_files(figure: Figure, name: str) -> dict[str, bytes]:
    """Return the figure as PNG and SVG, by file name, with letters as letters; `name` keeps ids of figures apart."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    figure.set_layout_engine("none")  # it is laid out now, which takes as long as drawing it
    # A date, and random ids, would change the bytes each time.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return {f"{name}.png": png.getvalue(), f"{name}.svg": svg.getvalue()}
