"""Networks of others, read from BIF files through pgmpy, for the batched inference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayesclass.inference import Structure
from bayesclass.network_spec import NetworkError

__all__ = ["DiscreteNetwork", "read_bif"]

TOLERANCE = 1e-3


@dataclass(frozen=True)
class DiscreteNetwork:
    r"""Tables of a discrete network, as `inference.posterior` takes them.

    Attributes
    ----------
    structure : Structure
    states : dict of str to tuple of str
        Names of the states of each node, in the order of the tables.
    log_cpds : tuple of float64 array
        One a node in the order of `structure.nodes`, axes (node, \*parents); natural logarithm.

    Examples
    --------
    Posterior of one node for many objects, given rows of hard evidence::

        network = read_bif("alarm.bif")
        evidence = {"HR": network.hard_evidence("HR", ["HIGH", None, "LOW"])}
        found = posterior(network.structure, "CO", network.log_cpds, evidence)
    """

    structure: Structure
    states: dict[str, tuple[str, ...]]
    log_cpds: tuple[np.ndarray, ...]

    def hard_evidence(self, node: str, values) -> np.ndarray:
        """Return log evidence of a node for objects whose state is known by name, or missing (None).

        Parameters
        ----------
        node : str
        values : sequence of str or None

        Returns
        -------
        float64 array, shape (n_objects, n_states)
            Rows of 0 and -inf; of zeros where missing.

        Raises
        ------
        NetworkError
            No such node or state.
        """
        if node not in self.states:
            raise NetworkError(
                f"Evidence must belong to a node, found {node!r}; known: {', '.join(self.states)}."
            )
        names = self.states[node]
        rows = np.zeros((len(values), len(names)))
        for row, value in zip(rows, values, strict=True):
            if value is None:
                continue
            if value not in names:
                raise NetworkError(
                    f"A state of {node!r} must be one of {', '.join(names)}, or None where it is missing, "
                    f"found {value!r}; correct it."
                )
            row[:] = -np.inf
            row[names.index(value)] = 0.0
        return rows


def read_bif(path) -> DiscreteNetwork:
    """Read a discrete network from a BIF file.

    Parameters
    ----------
    path : path

    Returns
    -------
    DiscreteNetwork
        Columns of tables are normalised; they must sum to one within 0.001, as published files are rounded.

    Raises
    ------
    NetworkError
        The file can't be read, a node has no table or one of another size, or a column of a table does not
        sum to one or has a negative number.

    Notes
    -----
    The file is parsed by pgmpy's `BIFReader`. Rows of a table that the file lacks would be zeros there, and
    are refused here.
    """
    # pgmpy warns of its own deprecated modules while it is imported.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from pgmpy.readwrite import BIFReader

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"{path}: the network must be a readable text file ({error}); check it.") from None
    try:
        # A block that ends the file without a new line would be passed over.
        reader = BIFReader(string=f"{text}\n")
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise NetworkError(
            f"{path}: the network must be a BIF file, and reading failed ({error!r}); check its blocks."
        ) from error
    names = tuple(reader.variable_names)
    states = {name: tuple(reader.variable_states[name]) for name in names}
    if not names:
        raise NetworkError(f"{path}: a BIF file must declare variables, found none; check its blocks.")
    without = [name for name in names if name not in reader.variable_cpds]
    if without:
        raise NetworkError(f"{path}: every variable needs a probability block, found none of {without[0]!r}.")
    parents = tuple(tuple(reader.variable_parents[name]) for name in names)
    structure = Structure(names, tuple(len(states[name]) for name in names), parents)
    tables = []
    for name in names:
        table = np.asarray(reader.variable_cpds[name], dtype=float)
        shape = structure.table_shape(name)
        if table.size != np.prod(shape):
            raise NetworkError(
                f"{path}: the table of {name!r} must have {int(np.prod(shape))} numbers, found {table.size}."
            )
        table = table.reshape(shape)
        total = table.sum(axis=0)
        if not (table >= 0).all() or not (np.abs(total - 1.0) <= TOLERANCE).all():
            worst = float(total.flat[np.abs(total - 1.0).argmax()])
            raise NetworkError(
                f"{path}: the states of {name!r} must have probabilities that sum to one for all states of "
                f"its parents, found a sum of {worst:g}; complete the table."
            )
        with np.errstate(divide="ignore"):
            tables.append(np.log(table / total))
    return DiscreteNetwork(structure, states, tuple(tables))
