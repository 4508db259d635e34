"""Class fractions of a new sample, found from the class probabilities of its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import null_space
from scipy.special import expit, logit
from scipy.stats import norm

from bayesclass.priors import Prior, PriorError

MAX_ITERATIONS = 20_000


@dataclass(frozen=True, eq=False)
class Fractions:
    """Class fractions of a sample with their errors.

    Attributes
    ----------
    leaves : tuple of str
    fraction : float64 array, shape (K,)
        Sums to one.
    covariance : float64 array, shape (K, K)
        Inverse of the observed information among fractions that sum to one. It is of this sample's size
        and of how well its classes are told apart; not in it is what the model itself may have wrong.
    training : float64 array, shape (K,)
        Fractions in the training sample.
    n_objects : int
    concentration : float
        Strength of the Dirichlet prior [objects].
    iterations : int
    converged : bool
        Whether the fractions are within the tolerance of the optimum.
    """

    leaves: tuple[str, ...]
    fraction: np.ndarray
    covariance: np.ndarray
    training: np.ndarray
    n_objects: int
    concentration: float
    iterations: int
    converged: bool

    @property
    def standard_error(self) -> np.ndarray:
        """Standard errors of the fractions, shape (K,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper ends, each of shape (K,): Gaussian in the logit, so within 0 and 1."""
        if not 0.0 < level < 1.0:
            raise PriorError(
                f"The level of an interval must lie between 0 and 1, found {level}; 0.9 is usual."
            )
        # A fraction rounded to 0 or 1 has no logit.
        p = np.clip(self.fraction, np.finfo(float).tiny, 1.0 - np.finfo(float).epsneg)
        reach = norm.isf((1.0 - level) / 2.0) * self.standard_error / (p * (1.0 - p))
        return expit(logit(p) - reach), expit(logit(p) + reach)

    def prior(self, name: str = "estimated") -> Prior:
        """Return the fractions as the prior to classify the sample with."""
        return Prior(self.leaves, self.fraction, name)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a leaf: fraction, standard_error, lower and upper (90 %), training."""
        lower, upper = self.interval()
        columns = {"fraction": self.fraction, "standard_error": self.standard_error}
        columns |= {"lower": lower, "upper": upper, "training": self.training}
        return pd.DataFrame(columns, pd.Index(self.leaves, name="class"))

    def text(self) -> str:
        """Return the fractions as lines of text; the last says so where they did not converge."""
        width = max(map(len, self.leaves))
        lines = [f"Class fractions of {self.n_objects} objects (90 % interval; in training):"]
        lines += [
            f"  {row.Index:<{width}}  {row.fraction:.4f} +- {row.standard_error:.4f} "
            f"({row.lower:.4f} to {row.upper:.4f}; {row.training:.4f})"
            for row in self.to_frame().itertuples()
        ]
        if not self.converged:
            lines.append(
                f"Not converged after {self.iterations} iterations: the classes are hardly told apart."
            )
        return "\n".join(lines)

    def __str__(self):
        return self.text()


def estimate_fractions(
    probability: np.ndarray,
    training_prior: Prior,
    *,
    concentration: float = 1.0,
    tolerance: float = 1e-6,
    max_iterations: int = MAX_ITERATIONS,
) -> Fractions:
    r"""Estimate class fractions of a sample that has the classes' evidence but not the training mixture.

    With p_ic the probability of class c for object i under the training prior pi, the fractions w maximise

    .. math:: \sum_i \log \sum_c p_{ic} \frac{w_c}{\pi_c} + s \sum_c \pi_c \log w_c

    by EM: the E-step reweights the probabilities, the M-step averages them,

    .. math:: w_c \leftarrow \frac{\sum_i r_{ic} + s \pi_c}{n + s}, \qquad
              r_{ic} = \frac{p_{ic} w_c / \pi_c}{\sum_{c'} p_{ic'} w_{c'} / \pi_{c'}}

    The second term is a Dirichlet prior with parameters 1 + s pi_c, worth s objects of the training mixture.
    It makes the optimum unique and keeps every fraction above zero.

    Parameters
    ----------
    probability : float array, shape (n, K)
        Of the sample's objects, made with `training_prior`; calibrated in the training mixture.
    training_prior : Prior
        Its leaves are the order of `probability`; none is impossible.
    concentration : float
        s [objects], above zero. The default of one matters only where a class has about no object.
    tolerance : float
        Largest distance of a fraction from the optimum, judged by the rate at which changes shrink.
    max_iterations : int

    Returns
    -------
    Fractions

    Raises
    ------
    PriorError
        If there is no object, a row is no distribution, an option is out of range, or the training prior
        makes a class impossible.

    References
    ----------
    Saerens, Latinne & Decaestecker (2002), Neural Computation 14, 21, Eq. 2.9; for EM with a prior Dempster,
    Laird & Rubin (1977), J. R. Stat. Soc. B 39, 1.
    """
    probability = np.asarray(probability, dtype=np.float64)
    training = training_prior.probability
    _check(probability, training_prior, concentration, tolerance, max_iterations)
    ratio = probability / training
    n = len(ratio)
    w, before, converged, iterations = training.copy(), np.inf, False, 0
    while not converged and iterations < max_iterations:
        iterations += 1
        share = w * (ratio.T @ (1.0 / (ratio @ w)))
        new = (share + concentration * training) / (n + concentration)
        change = float(np.abs(new - w).max())
        w = new
        # EM converges linearly: what remains is the geometric series of the changes to come.
        rate = change / before if before > 0 else 0.0
        before = change
        converged = change == 0.0 or (rate < 1.0 and change * max(1.0, rate / (1.0 - rate)) < tolerance)
    w = w / w.sum()
    return Fractions(
        leaves=training_prior.leaves,
        fraction=w,
        covariance=_covariance(ratio, w, training, concentration),
        training=training,
        n_objects=n,
        concentration=float(concentration),
        iterations=iterations,
        converged=converged,
    )


def _covariance(ratio: np.ndarray, w: np.ndarray, training: np.ndarray, concentration: float) -> np.ndarray:
    """Inverse of the observed information within the plane of fractions that sum to one."""
    slope = ratio / (ratio @ w)[:, None]
    information = slope.T @ slope + np.diag(concentration * training / w**2)
    plane = null_space(np.ones((1, len(w))))
    return plane @ np.linalg.inv(plane.T @ information @ plane) @ plane.T


def _check(probability, training_prior, concentration, tolerance, max_iterations) -> None:
    leaves, training = training_prior.leaves, training_prior.probability
    if probability.ndim != 2 or probability.shape[1] != len(leaves) or not len(probability):
        raise PriorError(
            f"Class fractions need probabilities of at least one object, shape (n, {len(leaves)}), found "
            f"{probability.shape}; give those of the sample, with the classes of the training prior."
        )
    wrong = ~((probability >= 0).all(axis=1) & (np.abs(probability.sum(axis=1) - 1.0) <= 1e-4))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise PriorError(
            f"Each object's probabilities must be zero or more and sum to one, found "
            f"{probability[i].tolist()} in row {i} ({int(wrong.sum())} such rows): normalise them."
        )
    if not (training > 0).all():
        raise PriorError(
            f"The training prior must give every class a chance, but {leaves[int(np.argmin(training))]} has "
            "none: estimate fractions before a class is made impossible."
        )
    for name, value in (
        ("concentration", concentration),
        ("tolerance", tolerance),
        ("max_iterations", max_iterations),
    ):
        if not (np.isfinite(value) and value > 0):
            raise PriorError(
                f"{name} must be finite and above zero, found {value}; leave it out for its default."
            )
