"""The network's picture and its text: every node and edge is there, and no box lies on another."""

import io
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from bayesclass import plots
from bayesclass.network import BayesianNetwork, JointSpec, NetworkSpec
from bayesclass.plots_network import _boxes, _rows
from context.evidence import Condition, EvidenceSpec, EvidenceTable

CLASSES = ("SN", "CV", "AGN")


def network(columns, n_states=3, **options):
    rng = np.random.default_rng(0)
    n = 80
    y = rng.integers(0, 3, n)
    frame = pd.DataFrame({"object_id": [f"o{i}" for i in range(n)], "in_field": rng.random(n) < 0.8})
    names = tuple(f"kind {i}" for i in range(n_states))
    specs = []
    for name in columns:
        if name.startswith("type"):
            frame[name] = rng.choice(names, n)
            covered = Condition("in_field", True)
            specs.append(EvidenceSpec(name, "categorical", column=name, states=names, covered=covered))
        else:
            frame[name] = rng.normal(size=n)
            specs.append(EvidenceSpec(name, "continuous", column=name))
    spec = NetworkSpec(class_states=CLASSES, **options)
    return BayesianNetwork.fit(
        spec, EvidenceTable.from_frame(frame, specs), np.eye(3, dtype=bool)[y], n_draws=0
    )


@pytest.fixture(scope="module")
def mixed():
    return network(
        ["host_normalised_separation", "type", "mag", "size", "colour", "b"],
        edges=(("type", "mag"), ("type", "b"), ("mag", "b")),
        no_class_edge=("b",),
        joint=(JointSpec("host shape", ("size", "colour"), components=2),),
    )


def test_a_node_is_a_box_and_an_edge_an_arrow(mixed):
    ax = plots.plot_network(mixed)
    ax.figure.savefig(io.BytesIO(), format="png")
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    # The class to three columns and the joint density, and three edges between columns.
    assert len(arrows) == 4 + 3
    texts = {text.get_text() for text in ax.texts}
    assert texts == {
        "class\n3 leaves",
        "host_\nnormalised_\nseparation",
        "type",
        "mag",
        "b",
        "host shape (joint density)\nsize\ncolour",
    }
    assert sum(isinstance(patch, FancyBboxPatch) for patch in ax.patches) == len(texts)
    # Given axes are used and returned.
    assert plots.plot_network(mixed, ax) is ax


def test_children_lie_below_their_parents_and_boxes_apart(mixed):
    many = network([f"x{i}" for i in range(17)], edges=tuple((f"x{i}", f"x{i + 1}") for i in range(3)))
    for drawn in (mixed, many, network([])):
        boxes = _boxes(drawn)
        assert set(boxes) == {"class", *drawn.nodes, *drawn.joint}
        for name, parents in drawn.parents.items():
            for parent in parents:
                assert boxes[parent].y > boxes[name].y
        for first, second in combinations(boxes.values(), 2):
            apart = (
                abs(first.x - second.x) >= (first.width + second.width) / 2,
                abs(first.y - second.y) >= (first.height + second.height) / 2,
            )
            assert any(apart), (first, second)
        assert max(len(row) for row in _rows(drawn)) <= 7
        plots.plot_network(drawn).figure.savefig(io.BytesIO(), format="png")


def test_text_has_a_line_a_node(mixed):
    lines = plots.network_text(mixed).splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells == [
        ["node", "kind", "parents", "states"],
        ["class", "class", "-", "SN, CV, AGN"],
        ["type", "categorical", "class", "kind 0, kind 1, kind 2, none"],
        ["host_normalised_separation", "continuous", "class", "4 bins"],
        ["mag", "continuous", "class, type", "4 bins"],
        ["b", "continuous", "type, mag", "4 bins"],
        ["host shape", "joint density", "class", "2 columns"],
        ["size", "continuous", "host shape", "a density"],
        ["colour", "continuous", "host shape", "a density"],
    ]
    assert all(line.index(cells[i][-1]) == lines[0].index("states") for i, line in enumerate(lines))
    long = plots.network_text(network(["type"], n_states=9)).splitlines()[-1]
    assert long.endswith("kind 0, kind 1, kind 2, kind 3, kind 4, kind 5 and 4 more")


def test_the_command_line_shows_the_network_of_a_model(tiny_classifier, tmp_path):
    from typer.testing import CliRunner

    from bayesclass.cli import app

    tiny_classifier.classifier.save(tmp_path / "model")
    result = CliRunner().invoke(app, ["models", str(tmp_path / "model")])
    assert result.exit_code == 0
    assert result.output.strip() == plots.network_text(tiny_classifier.classifier.fitted.context.network)
    missing = CliRunner().invoke(app, ["models", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "Traceback" not in missing.output
