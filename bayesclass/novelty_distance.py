"""How far a light curve lies from the classes, in the space of the trained expert's kernel features."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

__all__ = ["ClassDistance", "size_basis"]

# Of 64, 128 and 200 axes the more find a class left out better, above all by the residual; arrays grow alike.
N_AXES = 128
# Share of the mean variance that every axis has at least, and precision of a class's own trend with size.
SHRINKAGE, TREND_PRECISION = 0.05, 2.0
CENTRE = 3.0


def size_basis(n_points: np.ndarray) -> np.ndarray:
    """Powers 0 to 2 of log n - 3, shape (n, 3): in what all scales depend on the number of points n."""
    size = np.log(np.maximum(np.asarray(n_points, dtype=np.float64), 1.0)) - CENTRE
    return np.stack([np.ones_like(size), size, size**2], axis=1)


@dataclass(frozen=True, eq=False)
class ClassDistance:
    r"""Gaussians of the classes with one covariance, means that follow the number of points.

    With u the coordinates of an object's kernel features on their leading axes and b(n) as from `size_basis`,

    .. math:: D_c = (u - B_c b(n))^T \Sigma^{-1} (u - B_c b(n)), \qquad R = 1 - |u|^2

    Attributes
    ----------
    axes : ndarray, shape (n_features, r)
        Of kernel features without their constant.
    trend : ndarray, shape (K, 3, r)
        B of each class.
    root : ndarray, shape (r, r)
        L with inverse covariance L L^T.
    """

    axes: np.ndarray
    trend: np.ndarray
    root: np.ndarray

    @classmethod
    def fit(
        cls, features: np.ndarray, membership: np.ndarray, n_points: np.ndarray, n_axes: int = N_AXES
    ) -> ClassDistance:
        """Learn axes, trends and covariance.

        Parameters
        ----------
        features : ndarray, shape (n, n_features + 1)
            As from `KernelFeatures.features`; the last is the constant.
        membership : ndarray, shape (n, K)
            Weight of each row in each class; a partial label shares it out.
        n_points : ndarray, shape (n,)
        n_axes : int
            Reduced where there are fewer features.
        """
        phi, weight = features[:, :-1], membership.sum(axis=1)
        moment = (phi * weight[:, None].astype(phi.dtype)).T @ phi
        _, vector = np.linalg.eigh(moment.astype(np.float64))
        axes = vector[:, ::-1][:, : min(n_axes, phi.shape[1])]
        u, basis = phi @ axes, size_basis(n_points)
        trend = np.zeros((membership.shape[1], basis.shape[1], u.shape[1]))
        covariance = np.zeros((u.shape[1], u.shape[1]))
        ridge = np.diag([1e-6, TREND_PRECISION, TREND_PRECISION])
        for c, own in enumerate(membership.T):
            scaled = basis * own[:, None]
            trend[c] = np.linalg.solve(scaled.T @ basis + ridge, scaled.T @ u)
            rest = u - basis @ trend[c]
            covariance += (rest * own[:, None]).T @ rest
        covariance /= max(weight.sum(), 1e-12)
        mean_variance = np.trace(covariance) / len(covariance) or 1.0
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * mean_variance * np.eye(len(covariance))
        root = np.linalg.inv(np.linalg.cholesky(covariance)).T
        return cls(axes.astype(np.float32), trend.astype(np.float32), root.astype(np.float32))

    def distances(self, features: np.ndarray, n_points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distance D to every class, shape (n, K), and what the axes leave out, R, shape (n,)."""
        u, basis = features[:, :-1] @ self.axes, size_basis(n_points).astype(np.float32)
        # The root is applied once to objects and once to trends: |L^T u - L^T B b|^2.
        white, trend = u @ self.root, self.trend @ self.root
        distance = np.stack([((white - basis @ own) ** 2).sum(axis=1) for own in trend], axis=1)
        return distance.astype(np.float64), 1.0 - np.einsum("ij,ij->i", u, u, dtype=np.float64)

    def folded(self, whitening: np.ndarray) -> ClassDistance:
        """Return the same distances for features that are the kernel itself, see `KernelLogistic.folded`."""
        return replace(self, axes=(whitening @ self.axes).astype(np.float32))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, the axes in half precision, 5e-4 relative."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self)}
        return arrays | {"axes": self.axes.astype(np.float16)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> ClassDistance:
        """Inverse of `to_arrays`."""
        return cls(**{item.name: np.asarray(arrays[item.name], dtype=np.float32) for item in fields(cls)})
