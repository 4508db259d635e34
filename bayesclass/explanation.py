"""What decided between the two best classes of one object, piece of evidence by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

DECIBANS_PER_NAT = 10.0 / np.log(10.0)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What decided between the two best classes of one object.

    Attributes
    ----------
    object_id, best_class, runner_up : str
    table : DataFrame
        One row a piece of evidence: piece, nats and decibans (log-odds of `best_class` against
        `runner_up`), and log_likelihood_<leaf> [nat] for every leaf. The prior first, then by size.
    probability : Series
        By leaf.
    interval : DataFrame
        Columns lower and upper by leaf, the 90 % credible interval; NaN without draws.
    prediction_set : tuple of str
    novelty, conflict : float
    warnings : str
    """

    object_id: str
    best_class: str
    runner_up: str
    table: pd.DataFrame
    probability: pd.Series
    interval: pd.DataFrame
    prediction_set: tuple[str, ...]
    novelty: float
    conflict: float
    warnings: str

    @property
    def log_odds(self) -> float:
        """Log-odds of the best class against the runner-up, all pieces together [nat]."""
        return float(self.table["nats"].sum())

    def text(self) -> str:
        """Return the explanation as lines of text."""
        best, other = self.best_class, self.runner_up
        lower, upper = self.interval.loc[best]
        interval = "" if np.isnan(lower) else f" (90 % interval {lower:.3f} to {upper:.3f})"
        width = max(len("all together"), *(len(piece) for piece in self.table["piece"]))
        lines = [
            f"{self.object_id}: {best} {self.probability[best]:.3f}{interval}, "
            f"next {other} {self.probability[other]:.3f}; set {'|'.join(self.prediction_set)}",
            f"Log-odds of {best} against {other}:",
            f"  {'piece':<{width}}  {'nats':>8}  {'decibans':>8}",
        ]
        rows = [*zip(self.table["piece"], self.table["nats"], strict=True), ("all together", self.log_odds)]
        lines += [f"  {piece:<{width}}  {x:>+8.2f}  {x * DECIBANS_PER_NAT:>+8.1f}" for piece, x in rows]
        lines += [f"Warning: {warning.strip()}" for warning in self.warnings.split(";") if warning.strip()]
        return "\n".join(lines)

    def __str__(self):
        return self.text()

    __repr__ = __str__


def evidence_table(
    reasons: Mapping[str, np.ndarray], classes: tuple[str, ...], best: int, other: int
) -> pd.DataFrame:
    """Tabulate what each piece of evidence said between two classes.

    Parameters
    ----------
    reasons : mapping of str to float array, shape (K,)
        Piece of evidence -> its contribution to the log-likelihood of each leaf [nat].
    classes : tuple of str
        The K leaves.
    best, other : int
        Leaves whose log-odds are meant.

    Returns
    -------
    DataFrame
        As `Explanation.table`.
    """
    values = np.array(list(reasons.values()), dtype=np.float64)
    nats = values[:, best] - values[:, other]
    table = pd.DataFrame(
        {"piece": list(reasons), "nats": nats, "decibans": nats * DECIBANS_PER_NAT}
        | {f"log_likelihood_{leaf}": values[:, k] for k, leaf in enumerate(classes)}
    )
    order = sorted(range(len(table)), key=lambda j: (table["piece"][j] != "prior", -abs(nats[j])))
    return table.iloc[order].reset_index(drop=True)
