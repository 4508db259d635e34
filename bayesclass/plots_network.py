"""The network as a picture and as text: class on top, evidence below its parents."""

from __future__ import annotations

from typing import NamedTuple

from bayesclass.plots_axes import BLACK, BLUE, GREY, new_axes

MAX_IN_ROW = 7
MAX_LISTED = 6
LINE_LENGTH = 15
# Width and height of a node; what a line and a letter of a joint density take. All in distances of nodes.
BOX, LINE_HEIGHT, LETTER_WIDTH = (0.86, 0.56), 0.13, 0.052
BLUE_FACE, ORANGE_FACE, GREY_FACE = "#D5ECFA", "#FBE7BF", "#DDDDDD"


def plot_network(network, ax=None):
    """Draw nodes and edges in layers.

    Parameters
    ----------
    network : bayesclass.network.BayesianNetwork
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Edges from the class are grey, those between columns blue. A joint density is a box of its columns.
    """
    from matplotlib.patches import FancyArrowPatch

    boxes = _boxes(network)
    left, right = (
        min(b.x - b.width / 2 for b in boxes.values()),
        max(b.x + b.width / 2 for b in boxes.values()),
    )
    lowest, highest = min(b.y - b.height / 2 for b in boxes.values()), BOX[1] / 2
    if ax is None:
        ax = new_axes(0.4 + 1.35 * max(right - left, 2.0), 0.4 + 1.2 * (highest - lowest))
    for parent, child in _edges(network):
        start, end = boxes[parent], boxes[child]
        of_class = parent == network.spec.class_name
        ax.add_patch(
            FancyArrowPatch(
                (start.x, start.y - start.height / 2),
                (end.x, end.y + end.height / 2),
                arrowstyle="-|>",
                mutation_scale=10,
                shrinkA=0,
                shrinkB=0,
                color=GREY if of_class else BLUE,
                lw=0.8 if of_class else 1.6,
                zorder=1 if of_class else 2,
            )
        )
    for box in boxes.values():
        _draw(ax, box)
    ax.set(xlim=(left - 0.1, right + 0.1), ylim=(lowest - 0.1, highest + 0.1))
    ax.set_axis_off()
    return ax


def network_text(network) -> str:
    """Describe the network for a terminal, one line a node: name, kind, parents, states.

    Parameters
    ----------
    network : bayesclass.network.BayesianNetwork

    Returns
    -------
    str
        The class first, then columns below their parents, then joint densities and their columns.
    """
    class_name = network.spec.class_name
    lines = [("node", "kind", "parents", "states")]
    lines.append((class_name, "class", "-", _listed(network.spec.class_states)))
    for row in _rows(network)[1:]:
        for name in row:
            node = network.nodes[name]
            lines.append((name, node.kind, ", ".join(network.parents[name]) or "-", _states(node)))
    for name, density in network.joint.items():
        lines.append((name, "joint density", class_name, f"{len(density.nodes)} columns"))
        lines += [(f"  {column}", node.kind, name, "a density") for column, node in density.nodes.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]])
        for line in lines
    )


class _Box(NamedTuple):
    """A node on the page: centre and size in units of the distance between nodes."""

    x: float
    y: float
    width: float
    height: float
    label: str
    face: str


def _boxes(network) -> dict[str, _Box]:
    """Boxes by name: rows from the class down, joint densities to the right of them all."""
    class_name = network.spec.class_name
    width, height = BOX
    boxes = {}
    for depth, row in enumerate(_rows(network)):
        for i, name in enumerate(row):
            # Every other row is moved, so that edges from above pass between its boxes.
            x = i - (len(row) - 1) / 2 + 0.25 * (depth % 2) * (len(row) > 1)
            label, face = _wrapped(name), BLUE_FACE
            if name == class_name:
                label, face = f"{name}\n{len(network.spec.class_states)} leaves", GREY_FACE
            boxes[name] = _Box(x, -float(depth), width, height, label, face)
    for name, density in network.joint.items():
        lines = [f"{name} (joint density)", *density.nodes]
        tall, wide = 0.25 + LINE_HEIGHT * len(lines), 0.2 + LETTER_WIDTH * max(map(len, lines))
        edge = max(box.x + box.width / 2 for box in boxes.values() if box.y < 0 or len(boxes) == 1)
        top = -1.0 + height / 2
        boxes[name] = _Box(edge + 0.15 + wide / 2, top - tall / 2, wide, tall, "\n".join(lines), ORANGE_FACE)
    return boxes


def _draw(ax, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    inner = (box.width - 0.1, box.height - 0.1)
    ax.add_patch(
        FancyBboxPatch(
            (box.x - inner[0] / 2, box.y - inner[1] / 2),
            *inner,
            boxstyle="square,pad=0.05" if box.face == ORANGE_FACE else "round,pad=0.05",
            facecolor=box.face,
            edgecolor=BLACK,
            lw=0.8,
            zorder=3,
        )
    )
    ax.text(box.x, box.y, box.label, ha="center", va="center", fontsize=7.5, zorder=4, parse_math=False)


def _edges(network) -> list[tuple[str, str]]:
    edges = [(parent, name) for name, parents in network.parents.items() for parent in parents]
    return edges + [(network.spec.class_name, name) for name in network.joint]


def _rows(network) -> list[list[str]]:
    """Names by row: the class, then each column below all its parents, near them."""
    class_name = network.spec.class_name
    depth = {class_name: 0}
    for name, parents in network.parents.items():
        depth[name] = 1 + max((depth[parent] for parent in parents), default=0)
    children = dict.fromkeys(depth, 0)
    for parents in network.parents.values():
        for parent in parents:
            children[parent] += 1
    rows: list[list[str]] = [[class_name]]
    place = {class_name: 0.0}
    for level in range(1, max(depth.values()) + 1):
        names = [name for name in depth if depth[name] == level]

        def middle(name, place=place):
            above = [place[p] for p in network.parents.get(name, ()) if p != class_name]
            # Columns without children go to the side, so that edges are short.
            return sum(above) / len(above) if above else (0.0 if children[name] else 1.0)

        names.sort(key=middle)
        n_rows = -(-len(names) // MAX_IN_ROW)
        size = -(-len(names) // n_rows)
        for start in range(0, len(names), size):
            row = names[start : start + size]
            place |= {name: i - (len(row) - 1) / 2 for i, name in enumerate(row)}
            rows.append(row)
    return rows


def _states(node) -> str:
    """States of a column: categories by name, bins by their number."""
    if node.categories:
        return _listed(node.states)
    n_bins = node.n_measured_states
    return f"{n_bins} bin{'s' if n_bins > 1 else ''}" + (f", {node.states[-1]}" if node.has_none else "")


def _listed(names) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _wrapped(name: str) -> str:
    """Break a name at its underscores into lines that fit a box."""
    lines = [""]
    for part in name.replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > LINE_LENGTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
