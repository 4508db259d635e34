"""Whether draws can be trusted: R-hat, effective sample sizes, divergences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bayesclass.pooling_model import quiet

__all__ = ["MAX_R_HAT", "MIN_ESS", "Diagnostics", "PoolingError", "diagnose"]

MAX_R_HAT = 1.01
MIN_ESS = 400.0


class PoolingError(ValueError):
    """Counts that can't be pooled, or a fit that did not converge; the message says what to do."""


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a fit.

    Attributes
    ----------
    r_hat : float
        The largest of all parameters, rank-normalised and split; 1 is perfect.
    worst : str
        The parameter that has it.
    ess_bulk, ess_tail : float
        The smallest effective sample sizes.
    divergences : int
    seconds : float
    attempts : int
        A fit that did not converge is run once more with twice the draws and shorter steps.

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16, 667 (all three, with the limits used here).
    """

    r_hat: float
    worst: str
    ess_bulk: float
    ess_tail: float
    divergences: int
    seconds: float = 0.0
    attempts: int = 1

    @property
    def converged(self) -> bool:
        """R-hat at most 1.01, effective sizes at least 400, no divergence."""
        return bool(
            self.r_hat <= MAX_R_HAT and min(self.ess_bulk, self.ess_tail) >= MIN_ESS and self.divergences == 0
        )

    def __str__(self):
        return (
            f"{'converged' if self.converged else 'NOT converged'}: R-hat {self.r_hat:.3f} at {self.worst}, "
            f"effective draws {self.ess_bulk:.0f} (bulk) and {self.ess_tail:.0f} (tail), "
            f"{self.divergences} divergences, {self.seconds:.1f} s"
        )


def diagnose(draws: Mapping[str, np.ndarray], names: Mapping[str, list[str]], diverging) -> Diagnostics:
    """Return diagnostics of draws, by ArviZ.

    Parameters
    ----------
    draws : mapping of str to float array, shape (n_chains, n_draws, ...)
    names : mapping of str to list of str
        A label of each number of a variable, in C order.
    diverging : bool array, shape (n_chains, n_draws)

    Returns
    -------
    Diagnostics
        With seconds 0. A number whose draws are all equal, as no sampler leaves it, has no R-hat and fails.
    """
    with quiet():
        import arviz

        data = {name: arviz.convert_to_dataset({"x": x})["x"] for name, x in draws.items() if x.size}

        def of(function, **options):
            return [function(x, **options)["x"].to_numpy().ravel() for x in data.values()]

        r_hat, bulk, tail = of(arviz.rhat), of(arviz.ess, method="bulk"), of(arviz.ess, method="tail")
    r_hat = np.nan_to_num(np.concatenate(r_hat), nan=np.inf)
    labels = [label for name in data for label in names[name]]
    sizes = [float(np.nan_to_num(np.concatenate(x), nan=0.0).min()) for x in (bulk, tail)]
    worst = int(np.argmax(r_hat))
    return Diagnostics(float(r_hat[worst]), labels[worst], *sizes, int(np.sum(diverging)))
