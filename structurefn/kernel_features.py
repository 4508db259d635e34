"""Kernel features of square-root maps: an unsupervised, fixed-size description of an object."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

# Rows that axes and landmarks are learned from; half as many cost .003 in log-loss on crts.
MOST_ROWS = 12000


@dataclass(frozen=True)
class KernelFeatures:
    r"""Nystroem features of a Gaussian kernel between maps.

    Maps x are projected to z = (x - mean) B and compared with landmarks by
    :math:`k(z, z') = e^{-\gamma |z - z'|^2}`; the features :math:`\varphi(z) = k(z, Z) W`, with W the
    inverse square root of the landmarks' own kernel matrix on its leading eigenvectors, have inner products
    close to the kernel. Landmarks Z are cluster centres, few of which rest on a single object. No label is
    used.

    Attributes
    ----------
    mean, basis : ndarray, shapes (cells,) and (cells, n_components)
    landmarks : ndarray, shape (n_landmarks, n_components)
    whitening : ndarray, shape (n_landmarks, n_features), or None
        None where a classifier's weights hold it already (see `KernelLogistic.folded`): the features are then
        the kernel itself.
    gamma : float
        Inverse squared width of the kernel, in units of the maps' mean squared norm.

    References
    ----------
    Williams & Seeger (2001), NIPS 13, 682.
    """

    mean: np.ndarray
    basis: np.ndarray
    landmarks: np.ndarray
    whitening: np.ndarray | None
    gamma: float

    @classmethod
    def fit(
        cls,
        maps: np.ndarray,
        weights: np.ndarray,
        *,
        gamma: float = 0.7,
        n_components: int = 200,
        n_landmarks: int = 1500,
        n_features: int = 1000,
        seed: int = 0,
    ) -> "KernelFeatures":
        """Learn axes and landmarks.

        Parameters
        ----------
        maps : ndarray, shape (n, cells)
        weights : ndarray, shape (n,)
            Rows are drawn in proportion, if there are more than needed; weight zero teaches nothing.
        gamma : float
        n_components, n_landmarks, n_features : int
            Sizes, reduced where there are fewer rows.
        seed : int
        """
        rng = np.random.default_rng(seed)
        if (weights > 0).sum() > MOST_ROWS:
            chosen = rng.choice(len(maps), MOST_ROWS, replace=False, p=weights / weights.sum())
            maps, weights = maps[np.sort(chosen)], np.ones(MOST_ROWS)
        mean = np.average(maps, axis=0, weights=weights).astype(np.float32)
        centred = maps - mean
        basis = _principal_axes(centred, weights, min(n_components, *maps.shape), rng)
        low = (centred @ basis)[weights > 0]
        landmarks = _cluster_centres(low, min(n_landmarks, max(2, len(low) // 2)), rng)
        kernel = np.exp(-gamma * _squared_distance(landmarks, landmarks)).astype(np.float64)
        value, vector = np.linalg.eigh(kernel)
        top = np.argsort(value)[::-1][: min(n_features, len(value))]
        whitening = (vector[:, top] / np.sqrt(np.maximum(value[top], 1e-5))).astype(np.float32)
        return cls(mean, basis, landmarks.astype(np.float32), whitening, gamma)

    def features(self, maps: np.ndarray) -> np.ndarray:
        """Features with a constant as the last, shape (n, n_features + 1)."""
        low = (maps - self.mean) @ self.basis
        kernel = np.exp(-self.gamma * _squared_distance(low, self.landmarks))
        features = kernel if self.whitening is None else kernel @ self.whitening
        features = features.astype(np.float32)
        return np.concatenate([features, np.ones((len(maps), 1), np.float32)], axis=1)


def _squared_distance(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.maximum((x**2).sum(1)[:, None] + (z**2).sum(1) - 2.0 * x @ z.T, 0.0)


def _principal_axes(
    centred: np.ndarray, weights: np.ndarray, n_axes: int, rng: np.random.Generator
) -> np.ndarray:
    """Leading principal axes by randomised subspace iteration (Halko et al. 2011, algorithm 4.4)."""
    scaled = centred * np.sqrt(weights / weights.mean())[:, None].astype(np.float32)
    width = min(n_axes + 20, *scaled.shape)
    axes = rng.normal(size=(scaled.shape[1], width)).astype(np.float32)
    for _ in range(3):
        axes = np.linalg.qr(scaled.T @ (scaled @ axes))[0]
    small = scaled @ axes
    value, rotation = np.linalg.eigh((small.T @ small).astype(np.float64))
    leading = rotation[:, np.argsort(value)[::-1][:n_axes]]
    return np.ascontiguousarray((axes @ leading).astype(np.float32))


def _cluster_centres(low: np.ndarray, n_centres: int, rng: np.random.Generator) -> np.ndarray:
    start = low[rng.choice(len(low), n_centres, replace=False)].astype(np.float64)
    # A centre that loses its members keeps its place, which is harmless for a landmark.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(low.astype(np.float64), start, iter=8, minit="matrix", missing="warn")
    return centres
