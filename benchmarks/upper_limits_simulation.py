"""Supernovae in their rise against steady nuclei near a survey's limit, with the exact posterior.

A source of magnitude m(t) is observed at irregular times by exposures of depth L, which vary. It is detected
with probability Phi((L - m) / s), and then measured with a Gaussian error; else L is recorded as a limit.
Supernovae rise from nothing and fade linearly; nuclei change linearly and slowly. So the likelihood of all
that is recorded is an integral over four and two parameters, done here by quasi-random numbers.
"""

import numpy as np
import pandas as pd
from scipy.special import log_ndtr, logsumexp
from scipy.stats import norm, qmc

from bayesclass import metrics
from bayesclass.pool import Pool
from structurefn.counting import count_events
from structurefn.density import fit_density
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood
from structurefn.limit_density import fit_limit_density
from structurefn.limits import count_limits, depth_counts
from structurefn.response import response_matrix
from structurefn.streams import Stream

WINDOW = 120.0
DEPTH_SPREAD, SOFTNESS = 0.5, 0.2
# Mean days between exposures, and their mean depth.
SURVEYS = {"an exposure in 9 days": (9.0, 20.3), "an exposure in 2 days, shallow": (2.0, 19.7)}
LENGTHS = (None, 5, 3)
CHAIN = Stream("chain", "adjacent", ("S/r",))
LIMITS = Stream("limits", "limits", ("S/r", "S/r"))


def parameters(label, unit):
    """Uniform numbers to parameters: explosion, rise, decline, peak; or magnitude, slope."""
    if label == 0:
        low, high = np.array([-10.0, 8.0, 0.01, 18.8]), np.array([95.0, 22.0, 0.06, 20.3])
        return low + (high - low) * unit[:, :4]
    return np.column_stack([18.8 + 2.2 * unit[:, 0], 0.006 * norm.ppf(unit[:, 1])])


def magnitude(label, p, time):
    """Magnitude at each time under each set of parameters, shape (n_parameters, n_times)."""
    if label == 1:
        return p[:, :1] + p[:, 1:2] * (time - WINDOW / 2)
    since, rise = time - p[:, :1], p[:, 1:2]
    phase = np.clip(since / rise, 1e-3, 1.0)
    brightening = -2.5 * np.log10(1.0 - (1.0 - phase) ** 2)
    mag = p[:, 3:4] + brightening + p[:, 2:3] * np.maximum(since - rise, 0.0)
    return np.where(since > 0, mag, 40.0)


def observe(label, survey, rng):
    """One object's rows, with three detections at least, and the number of attempts."""
    attempts = 0
    while True:
        attempts += 1
        time = np.cumsum(rng.exponential(survey[0], 120))
        time = time[time < WINDOW]
        m = magnitude(label, parameters(label, rng.random((1, 4))), time)[0]
        depth = survey[1] + DEPTH_SPREAD * rng.normal(size=len(time))
        seen = rng.random(len(time)) < norm.cdf((depth - m) / SOFTNESS)
        if seen.sum() >= 3:
            error = rng.uniform(0.06, 0.2, len(time))
            value = np.where(seen, m + error * rng.normal(size=len(time)), depth)
            table = {
                "mjd": time,
                "mag": value,
                "mag_err": np.where(seen, error, np.nan),
                "upper_limit": ~seen,
            }
            return pd.DataFrame(table), attempts


def simulate(n, survey, rng):
    """Return n objects of either class and the chance of each class to have three detections."""
    frames, attempts = [], np.zeros(2)
    for i in range(n):
        frame, tries = observe(i % 2, survey, rng)
        attempts[i % 2] += tries
        frames.append(frame.assign(object_id=f"o{i:05d}", survey="S", band="r"))
    curves = LightCurves.from_frame(pd.concat(frames), channels=["S/r"])
    return curves, np.arange(n) % 2, (n / 2) / attempts


def exact_log_likelihood(curves, survey, chance, n_nodes=2**14):
    """Log-likelihood of detections and limits under both classes, given three detections; shape (n, 2)."""
    unit = qmc.Sobol(4, seed=1).random(n_nodes)
    grids = [parameters(label, unit) for label in (0, 1)]
    result = np.empty((curves.n_objects, 2))
    for i in range(curves.n_objects):
        part = slice(curves.offset[i], curves.offset[i + 1])
        time, value, limit = curves.time[part], curves.value[part], curves.upper_limit[part]
        error = np.where(limit, 1.0, curves.error[part])
        for label, grid in enumerate(grids):
            m = magnitude(label, grid, time)
            missed = log_ndtr((m - value) / SOFTNESS)
            # The depth of an exposure that detected is not recorded, so it is averaged over.
            found = log_ndtr((survey[1] - m) / np.hypot(SOFTNESS, DEPTH_SPREAD)) + norm.logpdf(
                value, m, error
            )
            total = np.where(limit, missed, found).sum(axis=1)
            result[i, label] = logsumexp(total) - np.log(n_nodes) - np.log(chance[label])
    return result


def first_detections(curves, n_detections):
    """Keep each object's points up to its detection of that number."""
    seen = np.concatenate([[0], np.cumsum(~curves.upper_limit)])
    before = seen[:-1] - seen[curves.offset[curves.object_index]]
    return curves.keep_points(before < n_detections)


def described(curves, deepest):
    """Count steps and limits at every length, one length after the other."""
    batches = [curves if k is None else first_detections(curves, k) for k in LENGTHS]
    chain = [count for batch in batches for _, count in count_events(batch, [CHAIN])]
    limits = [count for batch in batches for _, count in count_limits(batch, [LIMITS], deepest=deepest)]
    return np.concatenate(chain), np.concatenate(limits)


def experts(train, other, member):
    """Evidence and sizes of `other` from tables learned on `train`."""
    grid = CHAIN.grid
    groups = np.tile(np.arange(len(member) // len(LENGTHS)), len(LENGTHS))
    chain = fit_density(
        train[0], member, response_matrix(grid.column_edges, grid.error_centres), groups=groups
    )
    limits = fit_limit_density(train[1], member, LIMITS.grid, groups=groups)
    evidence = {"chain": log_likelihood(other[0], chain), "limits": log_likelihood(other[1], limits)}
    sizes = {"chain": other[0].sum(axis=(1, 2, 3)), "limits": depth_counts(other[1]).sum(axis=(1, 2, 3))}
    return evidence, sizes


def posterior(pool, evidence, sizes):
    log_joint = sum(pool.terms(evidence, sizes).values())
    return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))


def simulate_and_compare(seed):
    """Print log-loss and ECE of the experts with and without limits, and of the exact posterior."""
    for name, survey in SURVEYS.items():
        print(f"\n# simulation, {name}")
        compare(survey, np.random.default_rng(seed))


def compare(survey, rng, n_train=1200, n_test=600):
    (learn, y_learn, _), (weigh, y_weigh, _), (test, y_test, chance) = (
        simulate(n, survey, rng) for n in (n_train, n_train // 2, n_test)
    )
    m = len(LENGTHS)
    found = {}
    for name, deepest in (("every limit", False), ("deepest limits", True)):
        counts = [described(curves, deepest) for curves in (learn, weigh, test)]
        member = np.eye(2)[np.tile(y_learn, m)] / m
        allowed = np.eye(2, dtype=bool)[np.tile(y_weigh, m)]
        fitted, tested = (experts(counts[0], other, member) for other in counts[1:])
        for pieces in (("chain",), ("chain", "limits")):
            label = f"chain, {name}" if "limits" in pieces else "chain alone"
            evidence, sizes, out, out_sizes = (
                {key: part[key] for key in pieces} for part in (*fitted, *tested)
            )
            weight = np.full(len(allowed), 1.0 / m)
            pool = Pool.fit(evidence, sizes, allowed, weight, np.log([0.5, 0.5]), n_draws=1)
            found[label] = posterior(pool, out, out_sizes).reshape(m, n_test, 2)
            weights = {
                key: [round(float(w), 2) for w in pool.weight(key, np.array([1, 5, 20]))] for key in pieces
            }
            print(f"{label}: weights at 1, 5, 20 events {weights}")
    for i, k in enumerate(LENGTHS):
        batch = test if k is None else first_detections(test, k)
        here = {label: p[i] for label, p in found.items()}
        if k is not None:
            exact = exact_log_likelihood(batch, survey, chance)
            here["exact"] = np.exp(exact - logsumexp(exact, axis=1, keepdims=True))
        print(f"\n{k or 'all'} detections, {batch.n_upper_limits.mean():.1f} limits an object")
        for label, p in here.items():
            null, high = metrics.ece_null(p, np.random.default_rng(0))
            print(
                f"  {label:22s} log-loss {metrics.log_loss(p, y_test):.4f} accuracy "
                f"{metrics.accuracy(p, y_test):.3f} ECE {metrics.classwise_ece(p, y_test):.4f} "
                f"null {null:.4f} (95 % {high:.4f})"
            )
