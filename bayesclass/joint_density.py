"""Joint density of several evidence columns given the class: a mixture of Gaussians that all classes share.

A latent state z stands between the class and the columns of a block. Columns that an object lacks drop out of
the Gaussians exactly, so no cell is ever filled in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import logsumexp

from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["JointDensity", "JointParameters", "Marginals", "marginals"]

BLOCK_SIZE = 2048
# Beyond so many pooled standard deviations a value is scored at the end, as on the grids of single columns.
REACH = 6.0
# Added to a probability and its complement before the logit: certainties stay finite.
LOGIT_FLOOR = 0.005


@dataclass(frozen=True)
class JointParameters:
    """Parameters of a block: C classes, K latent states (the last is the broad background), D columns.

    Attributes
    ----------
    log_weight : float array, shape (C, K)
        log P(z | class).
    mean : float array, shape (K, D)
        In units of the pooled standard deviation, from the pooled mean.
    covariance : float array, shape (K, D, D)
    log_none : float array, shape (K, D)
        log P(searched, none found | z); -inf for a column that can't be so.
    """

    log_weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    log_none: np.ndarray


@dataclass(frozen=True)
class Marginals:
    """What a block of objects says of the latent states: n objects, K states, D columns.

    Attributes
    ----------
    log_density : float array, shape (n, K)
        Log density of the measured columns, at unit pooled standard deviation.
    deviation : float array, shape (n, K, D)
        Expected true values minus the state's mean.
    spread : float array, shape (n_patterns, K, D, D)
        Covariance of the true values, by pattern of missing cells and errors.
    pattern : int array, shape (n,)
    """

    log_density: np.ndarray
    deviation: np.ndarray
    spread: np.ndarray
    pattern: np.ndarray


def marginals(value, error, measured, mean, covariance) -> Marginals:
    r"""Gaussian densities of what is measured, and the conditional moments of what is behind it.

    With o the measured columns and E the errors' variances,

    .. math:: \log N(x_o; \mu_o, \Sigma_{oo} + E_{oo}), \qquad
              E[v | x_o] = \mu + \Sigma_{\cdot o} (\Sigma_{oo} + E_{oo})^{-1} (x_o - \mu_o)

    Parameters
    ----------
    value, error : float arrays, shape (n, D)
        Anything finite where not measured.
    measured : bool array, shape (n, D)
    mean : float array, shape (K, D)
    covariance : float array, shape (K, D, D)

    References
    ----------
    Bovy, Hogg & Roweis (2011), Annals of Applied Statistics 5, 1657, section 2: mixtures of Gaussians under
    errors and missing cells.
    """
    n_columns = value.shape[1]
    rows = np.column_stack([measured, np.where(measured, error, 0.0) ** 2])
    kinds, pattern = np.unique(rows, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    mask, variance = kinds[:, :n_columns], kinds[:, n_columns:]
    both = mask[:, None, :, None] * mask[:, None, None, :]
    # Columns not measured become independent ones of unit variance and zero deviation: they add nothing.
    own = np.eye(n_columns) * (variance + 1.0 - mask)[:, None, :, None]
    shown = covariance * both + own
    half_log_det = np.log(np.diagonal(np.linalg.cholesky(shown), axis1=2, axis2=3)).sum(axis=2)
    precision = np.linalg.inv(shown) * both
    gain = covariance @ precision
    difference = np.where(measured, value, 0.0)[:, None, :] - mean * measured[:, None, :]
    deviation = np.einsum("nkij,nkj->nki", gain[pattern], difference)
    distance = np.einsum("nki,nkij,nkj->nk", difference, precision[pattern], difference, optimize=True)
    constant = 0.5 * np.log(2.0 * np.pi) * measured.sum(axis=1)
    log_density = -0.5 * distance - half_log_det[pattern] - constant[:, None]
    return Marginals(log_density, deviation, covariance - gain @ covariance, pattern)


@dataclass(frozen=True)
class JointDensity:
    r"""p(columns of a block | class), for any pattern of missing, "none" and measured cells.

    .. math:: p(x_o, s | c) = \sum_z p(z | c) \prod_{j \in s} P(\mathrm{state}_j | z)\,
              N(x_o; \mu_{z,o}, \Sigma_{z,oo} + E_{oo})

    Depends on evidence columns. Cost: K factorisations of a D x D matrix for each different pattern of
    missing cells and errors.

    Attributes
    ----------
    name : str
    nodes : dict of str to EvidenceNode
        The columns of the block, in order.
    centre, scale : float64 arrays, shape (D,)
        Pooled mean and standard deviation of each transformed column.
    parameters : JointParameters
    probability : bool array, shape (D,)
        Columns that are probabilities: their logit is described, with the change of variable in the density.
    """

    name: str
    nodes: dict[str, EvidenceNode]
    centre: np.ndarray
    scale: np.ndarray
    parameters: JointParameters
    probability: np.ndarray

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.nodes)

    def log_likelihood(
        self,
        encoded: dict[str, Encoded],
        *,
        columns: tuple[str, ...] | None = None,
        parameters: JointParameters | None = None,
    ) -> np.ndarray:
        """Compute log p(columns | class).

        Parameters
        ----------
        encoded : dict of str to Encoded
        columns : tuple of str, optional
            The only columns looked at; the others count as not covered.
        parameters : JointParameters, optional
            Those of a posterior draw.

        Returns
        -------
        float64 array, shape (n_objects, n_classes) [log of 1 / units of the transformed columns]
            Exactly zero where no column is known.
        """
        parameters = self.parameters if parameters is None else parameters
        value, error, measured, none = self.arrays(encoded)
        if columns is not None:
            looked_at = np.isin(self.columns, columns)
            measured, none = measured & looked_at, none & looked_at
        result = np.zeros((len(value), parameters.log_weight.shape[0]))
        for rows in blocks(len(value)):
            got = marginals(value[rows], error[rows], measured[rows], *_gaussians(parameters))
            per_state = got.log_density + log_states(parameters.log_none, measured[rows], none[rows])
            result[rows] = logsumexp(per_state[:, None, :] + parameters.log_weight, axis=2)
        stretch = np.log(self._stretched(encoded)[1]) - np.log(self.scale)
        result += np.where(measured, stretch, 0.0).sum(axis=1)[:, None]
        return np.where((measured | none).any(axis=1)[:, None], result, 0.0)

    def contributions(self, encoded: dict[str, Encoded]) -> dict[str, np.ndarray]:
        """Compute what each column adds to those before it; the sum is `log_likelihood`."""
        result, before = {}, 0.0
        for i, name in enumerate(self.columns):
            after = self.log_likelihood(encoded, columns=self.columns[: i + 1])
            result[name] = np.where((encoded[name].state >= 0)[:, None], after - before, 0.0)
            before = after
        return result

    def arrays(self, encoded: dict[str, Encoded]) -> tuple[np.ndarray, ...]:
        """Standardised values and errors, where measured, and where "none"; each of shape (n, D)."""
        value, slope = self._stretched(encoded)
        error = slope * np.column_stack([encoded[name].error for name in self.columns])
        state = np.column_stack([encoded[name].state for name in self.columns])
        measured = np.isfinite(value)
        value = np.clip((np.where(measured, value, self.centre) - self.centre) / self.scale, -REACH, REACH)
        error = np.where(measured, error, 0.0) / self.scale
        return value, error, measured, (state >= 0) & ~measured

    def _stretched(self, encoded: dict[str, Encoded]) -> tuple[np.ndarray, np.ndarray]:
        """Values, those of probabilities as logits, and the slope of that map; both of shape (n, D)."""
        value = np.column_stack([encoded[name].value for name in self.columns])
        return logits(value, self.probability)

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return what describes the block: a dictionary for JSON, and arrays."""
        described = {name: node.to_arrays() for name, node in self.nodes.items()}
        meta = {"name": self.name, "nodes": [own for own, _ in described.values()]}
        arrays = {"centre": self.centre, "scale": self.scale, "probability": self.probability}
        arrays |= parameter_arrays(self.parameters)
        for name, (_, own) in described.items():
            arrays |= {f"{name}/{key}": values for key, values in own.items()}
        return meta, arrays

    @classmethod
    def from_arrays(cls, meta: dict, arrays: dict[str, np.ndarray]) -> JointDensity:
        """Inverse of `to_arrays`."""
        nodes = {}
        for item in meta["nodes"]:
            prefix = f"{item['name']}/"
            own = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
            nodes[item["name"]] = EvidenceNode.from_arrays(item, own)
        centre, scale = (np.asarray(arrays[key], float) for key in ("centre", "scale"))
        parameters = JointParameters(*(np.asarray(arrays[field.name], float) for field in _FIELDS))
        return cls(meta["name"], nodes, centre, scale, parameters, np.asarray(arrays["probability"], bool))


_FIELDS = fields(JointParameters)


def parameter_arrays(parameters: JointParameters) -> dict[str, np.ndarray]:
    """Return the parameters by name."""
    return {field.name: getattr(parameters, field.name) for field in _FIELDS}


def logits(value: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Stretch probabilities, u = log((p + e) / (1 - p + e)); also du/dp, one for the other columns.

    Parameters
    ----------
    value : float array, shape (n, D)
        NaN where not measured; probabilities in [0, 1].
    probability : bool array, shape (D,)
    """
    inside = np.where(probability, np.clip(value, 0.0, 1.0), 0.5)
    low, high = inside + LOGIT_FLOOR, 1.0 - inside + LOGIT_FLOOR
    stretched = np.where(probability, np.log(low) - np.log(high), value)
    slope = np.where(probability & np.isfinite(value), 1.0 / low + 1.0 / high, 1.0)
    return stretched, slope


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of at most `BLOCK_SIZE` objects, so that memory is flat."""
    for start in range(0, n, BLOCK_SIZE):
        yield slice(start, start + BLOCK_SIZE)


def log_states(log_none: np.ndarray, measured: np.ndarray, none: np.ndarray) -> np.ndarray:
    """Log P(which cells are measured and which "none", where either | z), shape (n, K)."""
    can_be_none = np.isfinite(log_none)
    log_measured = np.where(can_be_none, np.log1p(-np.exp(np.where(can_be_none, log_none, -1.0))), 0.0)
    return measured @ log_measured.T + none @ np.where(can_be_none, log_none, 0.0).T


def _gaussians(parameters: JointParameters) -> tuple[np.ndarray, np.ndarray]:
    # Draws are kept in float32, where a covariance may lose its symmetry to rounding; sums are in float64.
    covariance = np.asarray(parameters.covariance, float)
    return np.asarray(parameters.mean, float), 0.5 * (covariance + covariance.swapaxes(-1, -2))
