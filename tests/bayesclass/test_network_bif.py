"""Networks read from BIF: there and back, against pgmpy's elimination, and files that are wrong."""

import warnings

import numpy as np
import pandas as pd
import pytest

from bayesclass.inference import posterior
from bayesclass.network import BayesianNetwork, NetworkSpec
from bayesclass.network_bif import read_bif
from bayesclass.network_spec import NetworkError
from context.evidence import EvidenceSpec, EvidenceTable

BIF = """network weather {
}
variable rain { // two states
    type discrete [ 2 ] { yes, no };
}
variable "sprinkler" {
    type discrete [ 2 ] { on, off };
}
variable grass {
    type discrete [ 3 ] { dry, damp, wet };
}
probability ( rain ) {
    table 0.2, 0.8;
}
probability ( sprinkler | rain ) {
    (yes) 0.01, 0.99;
    (no) 0.4, 0.6;
}
probability ( grass | sprinkler, rain ) {
    (on, yes) 0.0, 0.1, 0.9;
    (on, no) 0.1, 0.2, 0.7;
    (off, yes) 0.1, 0.3, 0.6;
    (off, no) 0.9, 0.1, 0.0;
}"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def pgmpy_model(rng, n_nodes):
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    names = [f"n{i}" for i in range(n_nodes)]
    cards = dict(zip(names, (int(k) for k in rng.integers(2, 5, n_nodes)), strict=True))
    states = {name: [f"s{k}" for k in range(cards[name])] for name in names}
    model = DiscreteBayesianNetwork()
    model.add_nodes_from(names)
    for i, name in enumerate(names):
        parents = [names[j] for j in rng.permutation(i)[: rng.integers(0, min(i, 3) + 1)]]
        model.add_edges_from((parent, name) for parent in parents)
        size = int(np.prod([cards[parent] for parent in parents]))
        model.add_cpds(
            TabularCPD(
                name,
                cards[name],
                rng.dirichlet(np.ones(cards[name]), size=size).T,
                parents,
                [cards[parent] for parent in parents],
                state_names={node: states[node] for node in (name, *parents)},
            )
        )
    model.check_model()
    return model, states


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_from_files_equal_pgmpys_elimination(seed, tmp_path):
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        # pgmpy warns of its own deprecated modules while it is imported.
        warnings.simplefilter("ignore")
        from pgmpy.inference import VariableElimination
        from pgmpy.readwrite import BIFWriter

        for k in range(2):
            model, states = pgmpy_model(rng, int(rng.integers(3, 7)))
            path = write(tmp_path / f"{k}.bif", str(BIFWriter(model)))
            network = read_bif(path)
            engine = VariableElimination(model)
            query = str(rng.choice(network.structure.nodes))
            n = 4
            seen = {
                name: [str(rng.choice(own)) if rng.random() < 0.5 else None for _ in range(n)]
                for name, own in states.items()
                if name != query
            }
            rows = {name: network.hard_evidence(name, values) for name, values in seen.items()}
            found = posterior(network.structure, query, network.log_cpds, rows)
            for i in range(n):
                known = {name: values[i] for name, values in seen.items() if values[i] is not None}
                answer = engine.query([query], evidence=known or None, show_progress=False)
                expected = [answer.get_value(**{query: state}) for state in network.states[query]]
                np.testing.assert_allclose(np.exp(found.log_posterior[i]), expected, atol=1e-6)


def test_a_file_by_hand(tmp_path):
    """Comments, quotes and no new line at the end; the answer by hand."""
    network = read_bif(write(tmp_path / "w.bif", BIF))
    assert network.structure.nodes == ("rain", "sprinkler", "grass")
    assert network.structure.parents == ((), ("rain",), ("sprinkler", "rain"))
    assert network.states["grass"] == ("dry", "damp", "wet")
    np.testing.assert_allclose(np.exp(network.log_cpds[2][:, 1, 0]), [0.1, 0.3, 0.6])
    rows = {"grass": network.hard_evidence("grass", ["wet", None])}
    found = posterior(network.structure, "rain", network.log_cpds, rows)
    wet = np.array([0.2 * (0.01 * 0.9 + 0.99 * 0.6), 0.8 * 0.4 * 0.7])
    np.testing.assert_allclose(np.exp(found.log_posterior), [wet / wet.sum(), [0.2, 0.8]], atol=1e-6)
    # A combination of probability zero is said to be one.
    rows = {"grass": network.hard_evidence("grass", ["dry"]), "rain": network.hard_evidence("rain", ["yes"])}
    rows["sprinkler"] = network.hard_evidence("sprinkler", ["on"])
    assert posterior(network.structure, "rain", network.log_cpds, rows).impossible.tolist() == [True]


def test_a_fitted_network_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    n = 200
    y = rng.integers(0, 2, n)
    frame = pd.DataFrame({"object_id": [f"o{i}" for i in range(n)], "mag": rng.normal(18.0 + y, 1.0)})
    frame["host"] = np.where(rng.random(n) < 0.3 + 0.4 * y, "spiral, barred", "elliptical")
    frame.loc[::4, "mag"] = np.nan
    specs = (
        EvidenceSpec("mag", "continuous", column="mag", unit="mag"),
        EvidenceSpec("host", "categorical", column="host", states=("spiral, barred", "elliptical")),
    )
    spec = NetworkSpec(class_states=("SN-like", "other"), edges=(("host", "mag"),))
    table = EvidenceTable.from_frame(frame, specs)
    fitted = BayesianNetwork.fit(spec, table, np.eye(2, dtype=bool)[y], n_draws=0)
    fitted.to_bif(tmp_path / "fitted.bif")
    network = read_bif(tmp_path / "fitted.bif")
    assert set(network.structure.nodes) == {"class", "mag", "host"}
    for node, table in zip(network.structure.nodes, network.log_cpds, strict=True):
        # Nodes come in the order of the alphabet, parents in the order they had.
        if node == "class":
            np.testing.assert_allclose(np.exp(table), fitted.class_frequency, rtol=1e-6)
            continue
        parents = network.structure.parents[network.structure.nodes.index(node)]
        axes = [(node, *fitted.parents[node]).index(name) for name in (node, *parents)]
        expected = np.transpose(np.exp(fitted.parameters[node].log_cpd), axes)
        np.testing.assert_allclose(np.exp(table), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    (no) 0.4, 0.6;\n", "", "'sprinkler' must have probabilities that sum to one .* a sum of 0"),
        ("0.4, 0.6", "0.4, 0.7", "found a sum of 1.1"),
        ("0.4, 0.6", "1.4, -0.4", "'sprinkler' must have probabilities"),
        ("table 0.2, 0.8", "table 0.2, 0.5, 0.3", "BIF file, and reading failed|must have 2 numbers"),
        (BIF[BIF.index("probability ( grass") :], "", "every variable needs a probability block"),
        ("(no) 0.4", "(maybe) 0.4", "must be a BIF file"),
        ("( rain ) {", "( rain | grass ) {", "."),
        (BIF, "no network at all", "must declare variables"),
    ],
)
def test_wrong_files_are_refused_in_a_sentence(tmp_path, old, new, message):
    assert old in BIF
    with pytest.raises(ValueError, match=message) as error:
        read_bif(write(tmp_path / "wrong.bif", BIF.replace(old, new)))
    assert type(error.value).__module__.startswith("bayesclass")


def test_unreadable_files_and_unknown_names(tmp_path):
    with pytest.raises(NetworkError, match="must be a readable text file"):
        read_bif(tmp_path / "none.bif")
    (tmp_path / "binary.bif").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(NetworkError, match="must be a readable text file"):
        read_bif(tmp_path / "binary.bif")
    network = read_bif(write(tmp_path / "w.bif", BIF))
    with pytest.raises(NetworkError, match="known: rain, sprinkler, grass"):
        network.hard_evidence("snow", ["yes"])
    with pytest.raises(NetworkError, match="one of yes, no, or None where it is missing, found 'maybe'"):
        network.hard_evidence("rain", ["maybe"])
