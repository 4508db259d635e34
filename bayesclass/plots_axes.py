"""What all pictures share: colours, and axes on figures that are made without pyplot.

The colours are those of Okabe & Ito (2008), which people with any colour vision tell apart.
"""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)


def new_figure(width: float = 6.4, height: float = 4.0):
    """Return an empty figure of this size [inch]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float = 6.4, height: float = 4.0):
    """Return axes of a new figure of this size [inch]."""
    return new_figure(width, height).add_subplot()


def nothing(reason: str, *, ax=None):
    """Say on empty axes why there is nothing to draw."""
    ax = new_axes() if ax is None else ax
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, color="#444444")
    return ax
