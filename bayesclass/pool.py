"""Log-linear pool: the experts' evidence joined with weights that depend on the number of points."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

# Spread of the Gaussian priors on log weights, on exponents and on class biases.
SPREAD_WEIGHT, SPREAD_EXPONENT, SPREAD_BIAS = 1.0, 0.3, 0.3


@dataclass(frozen=True)
class Pool:
    r"""Weights of experts.

    .. math:: \log p(c) = \log \pi_c + b_c + \sum_k w_k(n_k)\, l_{kc} - \log Z, \qquad
              w_k(n) = a_k (1 + n)^{\beta_k}

    Attributes
    ----------
    experts : tuple of str
    log_prior : ndarray, shape (n_classes,)
    log_weight, exponent : ndarray, shape (n_experts,)
        log a_k and beta_k.
    bias : ndarray, shape (n_classes,)
    draws : ndarray, shape (n_draws, 2 * n_experts + n_classes)
        Draws of (log_weight, exponent, bias) from their Laplace approximation.
    """

    experts: tuple[str, ...]
    log_prior: np.ndarray
    log_weight: np.ndarray
    exponent: np.ndarray
    bias: np.ndarray
    draws: np.ndarray

    @classmethod
    def fit(
        cls,
        evidence: dict[str, np.ndarray],
        sizes: dict[str, np.ndarray],
        allowed: np.ndarray,
        weights: np.ndarray,
        log_prior: np.ndarray,
        *,
        expected: dict[str, tuple[float, float]] | None = None,
        n_draws: int = 32,
        seed: int = 0,
    ) -> "Pool":
        """Maximise the weighted mean log score of held-out evidence, with Gaussian priors.

        Parameters
        ----------
        evidence : dict of str to ndarray, shape (n, n_classes)
            Log-likelihoods of rows that had no part in fitting the expert.
        sizes : dict of str to ndarray, shape (n,)
            Number of points or events behind each; for experts without a size, zeros.
        allowed : ndarray of bool, shape (n, n_classes)
            Allowed classes of each row.
        weights : ndarray, shape (n,)
            Weight of a row; the versions of one object share one unit.
        log_prior : ndarray, shape (n_classes,)
        expected : dict, optional
            Expert -> prior mean of (log a, beta); (0, 0) by default.
        n_draws, seed : int

        Returns
        -------
        Pool
        """
        experts = tuple(evidence)
        stack = _centred(np.stack([evidence[name] for name in experts], axis=0)) if experts else None
        n_experts, n_classes = len(experts), len(log_prior)
        size = np.stack([np.log1p(sizes[name]) for name in experts]) if experts else np.zeros((0, 1))
        centre = np.array([(expected or {}).get(name, (0.0, 0.0)) for name in experts]).reshape(-1, 2)
        centre = np.concatenate([centre[:, 0], centre[:, 1], np.zeros(n_classes)])
        # An expert without a size has no exponent to learn.
        sized = size.max(axis=1, initial=0) > 0
        spread = np.concatenate(
            [
                np.full(n_experts, SPREAD_WEIGHT),
                np.where(sized, SPREAD_EXPONENT, 1e-3),
                np.full(n_classes, SPREAD_BIAS),
            ]
        )
        # In float64: rounding of the sum over thousands of rows stops a float32 line search far too early.
        with jax.enable_x64(True):
            stack = np.zeros((0, len(allowed), n_classes)) if stack is None else stack
            data = tuple(jnp.asarray(x, jnp.float64) for x in (stack, size, weights, log_prior))
            data += (jnp.asarray(allowed, bool), jnp.asarray(centre), jnp.asarray(spread))

            def objective(flat):
                value, gradient = _value_and_gradient(jnp.asarray(flat), *data)
                return float(value), np.asarray(gradient)

            best = minimize(objective, centre, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
            curvature = np.asarray(_hessian(jnp.asarray(best), *data))
        value, vector = np.linalg.eigh((curvature + curvature.T) / 2)
        noise = np.random.default_rng(seed).normal(size=(n_draws, len(best)))
        # The prior bounds the curvature from below, whatever float32 made of it.
        draws = best + (noise / np.sqrt(np.maximum(value, 1.0 / spread.max() ** 2))) @ vector.T
        return cls(experts, np.asarray(log_prior), *_split(best, n_experts), draws=draws.astype(np.float32))

    def weight(self, expert: str, size: np.ndarray) -> np.ndarray:
        """Weight of an expert for rows of n points or events, shape (n,)."""
        k = self.experts.index(expert)
        return np.exp(self.log_weight[k] + self.exponent[k] * np.log1p(size))

    def terms(self, evidence: dict[str, np.ndarray], sizes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Each weighted piece, shape (n, n_classes), whose sum is the log-joint: prior, experts, bias."""
        n = len(next(iter(evidence.values())))
        pieces = {"prior": np.broadcast_to(self.log_prior, (n, len(self.log_prior)))}
        for name in self.experts:
            pieces[name] = self.weight(name, sizes[name])[:, None] * _centred(evidence[name])
        pieces["calibration"] = np.broadcast_to(self.bias, (n, len(self.bias)))
        return pieces

    def log_joint_draws(self, evidence: dict[str, np.ndarray], sizes: dict[str, np.ndarray]) -> np.ndarray:
        """Log-joint under each draw, shape (n_draws, n, n_classes).

        Evidence of an expert may have a leading axis of draws of its own, which are paired with the pool's.
        """
        n_draws, n_experts = len(self.draws), len(self.experts)
        log_weight, exponent, bias = (
            self.draws[:, :n_experts],
            self.draws[:, n_experts : 2 * n_experts],
            self.draws[:, 2 * n_experts :],
        )
        total = (self.log_prior + bias)[:, None, :]
        for k, name in enumerate(self.experts):
            weight = np.exp(log_weight[:, k, None] + exponent[:, k, None] * np.log1p(sizes[name]))
            own = _centred(evidence[name])
            if own.ndim == 3:
                own = own[np.arange(n_draws) % len(own)]
            total = total + weight[:, :, None] * own
        return total

    def to_dict(self) -> dict:
        """Plain lists, for a model's manifest."""
        names = ("log_prior", "log_weight", "exponent", "bias", "draws")
        return {"experts": list(self.experts)} | {name: getattr(self, name).tolist() for name in names}

    @classmethod
    def from_dict(cls, plain: dict) -> "Pool":
        """Inverse of `to_dict`."""
        n = 2 * len(plain["experts"]) + len(plain["bias"])
        arrays = {k: np.asarray(v, np.float64) for k, v in plain.items() if k != "experts"}
        arrays["draws"] = arrays["draws"].reshape(-1, n)
        return cls(experts=tuple(plain["experts"]), **arrays)


def _centred(log_likelihood: np.ndarray) -> np.ndarray:
    """Subtract the mean over classes, which no posterior notices, so that weights scale differences only."""
    return log_likelihood - log_likelihood.mean(axis=-1, keepdims=True)


def _split(flat: np.ndarray, n_experts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return flat[:n_experts], flat[n_experts : 2 * n_experts], flat[2 * n_experts :]


def _loss(flat, stack, size, weights, log_prior, allowed, centre, spread):
    """Weighted negative log score with the priors' terms."""
    log_joint = _log_joint(flat, stack, size, log_prior)
    allowed_part = jax.nn.logsumexp(jnp.where(allowed, log_joint, -jnp.inf), axis=-1)
    fit = (weights * (allowed_part - jax.nn.logsumexp(log_joint, axis=-1))).sum()
    return -fit + 0.5 * (((flat - centre) / spread) ** 2).sum()


_value_and_gradient = jax.jit(jax.value_and_grad(_loss))
_hessian = jax.jit(jax.hessian(_loss))


def _log_joint(flat, stack, size, log_prior):
    log_weight, exponent, bias = _split(flat, stack.shape[0])
    weight = jnp.exp(log_weight[:, None] + exponent[:, None] * size)
    return log_prior + bias + (weight[:, :, None] * stack).sum(axis=0)
