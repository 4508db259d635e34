"""Multinomial logistic regression on features, with partial labels and its parameters' uncertainty."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

INTERCEPT_PRECISION = 0.01
# Relative change of the objective at which the search for weights ends.
TOLERANCE = 3e-6


@dataclass(frozen=True)
class KernelLogistic:
    r"""Class log-odds linear in features: :math:`\log p(c | x) = \log \mathrm{softmax}(\varphi \theta)_c`.

    Attributes
    ----------
    theta : ndarray, shape (n_features + 1, n_classes)
        Weights, the last row the intercept.
    draws : ndarray, shape (n_draws, n_features + 1, n_classes)
        Refits under the Bayesian bootstrap.
    """

    theta: np.ndarray
    draws: np.ndarray

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        allowed: np.ndarray,
        weights: np.ndarray,
        *,
        precision: float = 0.01,
        groups: np.ndarray | None = None,
        n_draws: int = 0,
        seed: int = 0,
        start: np.ndarray | None = None,
    ) -> "KernelLogistic":
        r"""Maximise :math:`\sum_i w_i \log \sum_{c \in A_i} p(c | x_i) - \lambda |\theta|^2 / 2`.

        Parameters
        ----------
        features : ndarray, shape (n, n_features + 1)
            As from `KernelFeatures.features`; the last is the constant.
        allowed : ndarray of bool, shape (n, n_classes)
            The allowed classes A_i of each row; a partial label allows several.
        weights : ndarray, shape (n,)
            Weight of a row; the versions of one object share one unit.
        precision : float
            Precision lambda of the Gaussian prior on theta.
        groups : ndarray of int, shape (n,), optional
            The object of each row; the bootstrap draws objects. Each row alone by default.
        n_draws, seed : int
        start : ndarray, shape (n_features + 1, n_classes), optional
            Where the search begins, for example the weights of a like fit; zero by default.
        """
        rng = np.random.default_rng(seed)
        theta = _maximum_posterior(features, allowed, weights, precision, start=start)
        groups = np.arange(len(features)) if groups is None else groups
        draws = np.empty((n_draws, *theta.shape), dtype=np.float32)
        for draw in draws:
            # Bayesian bootstrap (Rubin 1981): an exponential weight for each object.
            luck = rng.exponential(size=int(groups.max()) + 1)[groups]
            draw[:] = _maximum_posterior(
                features, allowed, weights * luck, precision, start=theta, max_iterations=40
            )
        return cls(theta, draws)

    def folded(self, whitening: np.ndarray) -> "KernelLogistic":
        r"""Return the same classifier on the kernel itself, :math:`\varphi \theta = k (W \theta)`.

        Parameters
        ----------
        whitening : ndarray, shape (n_landmarks, n_features)
            W of the features' `KernelFeatures`.
        """

        def fold(theta):
            return np.concatenate([whitening @ theta[..., :-1, :], theta[..., -1:, :]], axis=-2)

        return KernelLogistic(fold(self.theta), fold(self.draws))

    def log_posterior(self, features: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """Log class probabilities, shape (n, n_classes), or (n_draws, n, n_classes) of the draws."""
        if draws:
            logits = np.einsum("nf,dfc->dnc", features, self.draws, optimize=True)
        else:
            logits = features @ self.theta
        return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


@jax.jit
def _objective(
    theta: Float[Array, "f c"],
    features: Float[Array, "n f"],
    allowed: Array,
    weights: Float[Array, " n"],
    precision: Float[Array, " f"],
) -> tuple[Array, Array]:
    def loss(theta):
        log_posterior = jax.nn.log_softmax(features @ theta, axis=-1)
        kept = jax.nn.logsumexp(jnp.where(allowed, log_posterior, -jnp.inf), axis=-1)
        return -(weights * kept).sum() + 0.5 * (precision[:, None] * theta**2).sum()

    return jax.value_and_grad(loss)(theta)


def _maximum_posterior(
    features, allowed, weights, precision, *, start=None, max_iterations: int = 200
) -> np.ndarray:
    shape = features.shape[1], allowed.shape[1]
    precisions = np.full(shape[0], precision)
    precisions[-1] = INTERCEPT_PRECISION
    # Rows padded to a multiple, so that folds of nearly equal size share one compilation.
    padding = -len(features) % 1024
    data = (
        jnp.asarray(np.pad(features, ((0, padding), (0, 0))), jnp.float32),
        jnp.asarray(np.pad(allowed.astype(bool), ((0, padding), (0, 0)), constant_values=True)),
        jnp.asarray(np.pad(weights, (0, padding)), jnp.float32),
        jnp.asarray(precisions, jnp.float32),
    )

    def objective(flat):
        value, gradient = _objective(jnp.asarray(flat.reshape(shape), jnp.float32), *data)
        return float(value), np.asarray(gradient, dtype=np.float64).ravel()

    # A tighter tolerance doubles the iterations and changes no held-out score in the third digit.
    options = {"maxiter": max_iterations, "maxcor": 20, "ftol": TOLERANCE}
    start = np.zeros(shape) if start is None else start
    found = minimize(
        objective, start.astype(np.float64).ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return found.x.reshape(shape).astype(np.float32)
