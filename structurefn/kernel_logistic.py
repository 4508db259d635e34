"""Multinomial logistic regression on a kernel of square-root maps, with its parameters' uncertainty."""

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.cluster.vq import kmeans2
from scipy.optimize import minimize

INTERCEPT_PRECISION = 0.01


@dataclass(frozen=True)
class KernelLogistic:
    r"""Class log-odds as a smooth function of an object's maps.

    Maps x are projected to z = (x - mean) B, compared with landmarks by a Gaussian kernel
    :math:`k(z, z') = e^{-\gamma |z - z'|^2}`, and turned into features
    :math:`\varphi(z) = k(z, Z) W` (Nystroem's approximation: W whitens the kernel among the landmarks
    Z, which are cluster centres and no single objects). Then log p(c | x) = log softmax(phi theta).

    Attributes
    ----------
    mean, basis : ndarray, shapes (cells,) and (cells, n_components)
    landmarks : ndarray, shape (n_landmarks, n_components)
    whitening : ndarray, shape (n_landmarks, n_features)
    theta : ndarray, shape (n_features + 1, n_classes)
        Weights, the last row the intercept.
    draws : ndarray, shape (n_draws, n_features + 1, n_classes)
        Refits under the Bayesian bootstrap.
    gamma : float
    """

    mean: np.ndarray
    basis: np.ndarray
    landmarks: np.ndarray
    whitening: np.ndarray
    theta: np.ndarray
    draws: np.ndarray
    gamma: float

    @classmethod
    def fit(
        cls,
        maps: np.ndarray,
        membership: np.ndarray,
        weights: np.ndarray,
        *,
        gamma: float = 0.4,
        precision: float = 0.01,
        n_components: int = 128,
        n_landmarks: int = 800,
        n_features: int = 500,
        groups: np.ndarray | None = None,
        n_draws: int = 0,
        seed: int = 0,
    ) -> "KernelLogistic":
        r"""Maximise :math:`\sum_i w_i \log \sum_{c \in A_i} p(c | x_i) - \lambda |\theta|^2 / 2`.

        Parameters
        ----------
        maps : ndarray, shape (n, cells)
        membership : ndarray of bool, shape (n, n_classes)
            The allowed classes A_i of each row; a partial label allows several.
        weights : ndarray, shape (n,)
            Weight of a row; the versions of one object share one unit.
        gamma : float
            Inverse squared width of the kernel, in units of the maps' mean squared norm.
        precision : float
            Precision lambda of the Gaussian prior on theta.
        n_components, n_landmarks, n_features : int
            Sizes, reduced where there are fewer rows.
        groups : ndarray of int, shape (n,), optional
            The object of each row; the bootstrap draws objects. Each row alone by default.
        n_draws : int
        seed : int

        Returns
        -------
        KernelLogistic
        """
        rng = np.random.default_rng(seed)
        mean = np.average(maps, axis=0, weights=weights).astype(np.float32)
        basis = _principal_axes(maps - mean, weights, min(n_components, *maps.shape), rng)
        low = (maps - mean) @ basis
        landmarks = _cluster_centres(low, min(n_landmarks, max(2, len(low) // 2)), rng)
        kernel = np.exp(-gamma * _squared_distance(landmarks, landmarks)).astype(np.float64)
        value, vector = np.linalg.eigh(kernel)
        top = np.argsort(value)[::-1][: min(n_features, len(value))]
        whitening = (vector[:, top] / np.sqrt(np.maximum(value[top], 1e-5))).astype(np.float32)
        model = cls(
            mean=mean,
            basis=basis,
            landmarks=landmarks.astype(np.float32),
            whitening=whitening,
            theta=np.zeros((len(top) + 1, membership.shape[1]), np.float32),
            draws=np.zeros((0, len(top) + 1, membership.shape[1]), np.float32),
            gamma=gamma,
        )
        features = model.features(maps)
        theta = _maximum_posterior(features, membership, weights, precision)
        draws = model.draws
        if n_draws:
            draws = _bootstrap_draws(theta, features, membership, weights, groups, precision, n_draws, rng)
        return cls(**{**model.__dict__, "theta": theta, "draws": draws})

    def features(self, maps: np.ndarray) -> np.ndarray:
        """Kernel features with a constant, shape (n, n_features + 1)."""
        low = (maps - self.mean) @ self.basis
        kernel = np.exp(-self.gamma * _squared_distance(low, self.landmarks))
        features = (kernel @ self.whitening).astype(np.float32)
        return np.concatenate([features, np.ones((len(maps), 1), np.float32)], axis=1)

    def log_posterior(self, maps: np.ndarray, *, draws: bool = False) -> np.ndarray:
        """Log class probabilities, shape (n, n_classes), or (n_draws, n, n_classes) of the draws."""
        features = self.features(maps)
        if draws:
            return np.asarray(jax.nn.log_softmax(jnp.einsum("nf,dfc->dnc", features, self.draws), axis=-1))
        return np.asarray(jax.nn.log_softmax(features @ self.theta, axis=-1))


def _squared_distance(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.maximum((x**2).sum(1)[:, None] + (z**2).sum(1) - 2.0 * x @ z.T, 0.0)


def _principal_axes(centred: np.ndarray, weights: np.ndarray, n_axes: int, rng) -> np.ndarray:
    """Leading principal axes by randomised subspace iteration (Halko et al. 2011, algorithm 4.4)."""
    scaled = centred * np.sqrt(weights / weights.mean())[:, None].astype(np.float32)
    width = min(n_axes + 20, *scaled.shape)
    axes = rng.normal(size=(scaled.shape[1], width)).astype(np.float32)
    for _ in range(3):
        axes = np.linalg.qr(scaled.T @ (scaled @ axes))[0]
    _, _, rotation = np.linalg.svd(scaled @ axes, full_matrices=False)
    return np.ascontiguousarray((axes @ rotation.T[:, :n_axes]).astype(np.float32))


def _cluster_centres(low: np.ndarray, n_centres: int, rng) -> np.ndarray:
    start = low[rng.choice(len(low), n_centres, replace=False)].astype(np.float64)
    # A centre that loses its members keeps its place, which is harmless for a landmark.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(low.astype(np.float64), start, iter=8, minit="matrix", missing="warn")
    return centres


@jax.jit
def _objective(
    theta: Float[Array, "f c"],
    features: Float[Array, "n f"],
    membership: Array,
    weights: Float[Array, " n"],
    precision: Float[Array, " f"],
) -> tuple[Array, Array]:
    def loss(theta):
        log_posterior = jax.nn.log_softmax(features @ theta, axis=-1)
        allowed = jax.nn.logsumexp(jnp.where(membership, log_posterior, -jnp.inf), axis=-1)
        return -(weights * allowed).sum() + 0.5 * (precision[:, None] * theta**2).sum()

    return jax.value_and_grad(loss)(theta)


def _precisions(n_features: int, precision: float) -> np.ndarray:
    return np.concatenate([np.full(n_features - 1, precision), [INTERCEPT_PRECISION]]).astype(np.float32)


def _maximum_posterior(
    features, membership, weights, precision, *, start=None, max_iterations: int = 200
) -> np.ndarray:
    shape = features.shape[1], membership.shape[1]
    data = (
        jnp.asarray(features),
        jnp.asarray(membership, bool),
        jnp.asarray(weights, jnp.float32),
        jnp.asarray(_precisions(shape[0], precision)),
    )

    def objective(flat):
        value, gradient = _objective(jnp.asarray(flat.reshape(shape), jnp.float32), *data)
        return float(value), np.asarray(gradient, dtype=np.float64).ravel()

    options = {"maxiter": max_iterations, "maxcor": 20}
    start = np.zeros(shape) if start is None else start
    found = minimize(
        objective, start.astype(np.float64).ravel(), jac=True, method="L-BFGS-B", options=options
    )
    return found.x.reshape(shape).astype(np.float32)


def _bootstrap_draws(theta, features, membership, weights, groups, precision, n_draws, rng) -> np.ndarray:
    """Refit with each object's weight multiplied by an exponential one (Bayesian bootstrap, Rubin 1981)."""
    if groups is None:
        groups = np.arange(len(features))
    draws = np.empty((n_draws, *theta.shape), dtype=np.float32)
    for draw in draws:
        luck = rng.exponential(size=int(groups.max()) + 1)[groups]
        draw[:] = _maximum_posterior(
            features, membership, weights * luck, precision, start=theta, max_iterations=40
        )
    return draws
