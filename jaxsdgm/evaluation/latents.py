"""Whether latent variables carry anything: divergence, information, active units; warnings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

LATENTS = ("z1", "z2", "z")  # Gaussian ones, of documents or sentences
MOST = 10_000  # documents whose mutual information with a latent is estimated: time is quadratic
TILE = 1000  # of them at a time
COLLAPSED_KL = 0.1  # nats a document
CHANCE_MARGIN = 0.02  # accuracy over the majority class that still counts as chance


def active_units(means: ArrayLike, *, threshold: float = 0.01) -> int:
    """How many latent dimensions move with the input.

    A dimension is active if the unbiased variance over documents of its posterior mean is at least
    the threshold (Burda et al. 2016, "Importance weighted autoencoders", section 5.2).

    Args:
        means: [n, d] posterior means; with fewer than two rows nothing varies and the answer is 0.
        threshold: the least variance of an active dimension.
    """
    means = np.asarray(means, np.float64)  # [n, d]
    if len(means) < 2:
        return 0
    return int((means.var(axis=0, ddof=1) >= threshold).sum())


def gaussian_kl(means: ArrayLike, log_vars: ArrayLike) -> np.ndarray:
    """KL(N(mean, diag var) || N(0, I)) in nats, `[n]`; both arguments are `[n, d]`."""
    mean, log_var = np.asarray(means, np.float64), np.asarray(log_vars, np.float64)
    return 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(-1)


def mutual_information(
    means: ArrayLike, log_vars: ArrayLike, *, seed: int = 0, noise: ArrayLike | None = None
) -> float:
    """I(x; z) under q, in nats: mean of - H[q(z|x)] - log 1/n sum_x' q(z|x') with z from q(z|x).

    One draw of z a document; the entropy is exact, so that the value may exceed log n by noise
    (Hoffman and Johnson 2016; Dieng et al. 2019; spec of paper 4, §6).

    Args:
      means, log_vars: `[n, d]` of the Gaussian posteriors of n documents, of which MOST are taken,
        evenly.
      seed: of the draws.
      noise: `[n, d]`, standard normal draws to use instead.
    """
    n = len(np.asarray(means))
    which = np.linspace(0, n - 1, min(n, MOST)).round().astype(int)
    mean, log_var = (np.asarray(x, np.float64)[which] for x in (means, log_vars))
    n, d = mean.shape
    draws = np.random.default_rng(seed).normal(size=mean.shape) if noise is None else noise
    z = mean + np.exp(log_var / 2) * draws
    precision = np.exp(-log_var)
    constant = -0.5 * (np.log(2 * np.pi) * d + log_var.sum(1) + (mean**2 * precision).sum(1))

    def log_aggregate(z: np.ndarray) -> np.ndarray:  # in double precision, for variances are tiny
        log_q = constant + z @ (mean * precision).T - 0.5 * z**2 @ precision.T
        return logsumexp(log_q, axis=1) - np.log(n)

    tiles = np.array_split(z, -(-n // TILE))
    negative_entropy = -0.5 * (np.log(2 * np.pi) * d + d + log_var.sum(1))
    return float(negative_entropy.mean() - np.concatenate([*map(log_aggregate, tiles)]).mean())


def latents_of(output: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Active units, size and information of the LATENTS that a prediction came with.

    `output` has means `[n, d]` by a latent's name and may have log-variances (name_log_var).
    """
    means = {name: output[name] for name in LATENTS if name in output}
    known = {name: output[f"{name}_log_var"] for name in means if f"{name}_log_var" in output}
    told = {name: mutual_information(means[name], log_var) for name, log_var in known.items()}
    return {
        "active_units": {name: active_units(x) for name, x in means.items()},
        "size": {name: x.shape[1] for name, x in means.items()},
        "mutual_information": {name: round(x, 4) for name, x in told.items()},
    }


def collapse_warnings(
    kl: Mapping[str, float],
    active: Mapping[str, int],
    *,
    sizes: Mapping[str, int],
    dev_accuracy: float | None = None,
    majority_share: float | None = None,
) -> list[str]:
    """What a reader must know before trusting the numbers, one sentence or two each.

    Args:
        kl: nats per document of each latent variable's KL, by the variable's name ("z1", "z2").
        active: active units by the same names; a name may be missing from either.
        sizes: dimensions of each variable.
        dev_accuracy: accuracy on the dev split, if the run classifies.
        majority_share: share of the largest class in that split.
    """
    names = dict.fromkeys([*kl, *active])
    warnings = [
        w for name in names if (w := _collapse(name, kl.get(name), active.get(name), sizes))
    ]
    if dev_accuracy is not None and majority_share is not None:
        warnings += _chance(dev_accuracy, majority_share)
    return warnings


def _collapse(
    name: str, kl: float | None, active: int | None, sizes: Mapping[str, int]
) -> str | None:
    """Says how `name` collapsed, or None if it did not."""
    reasons = []
    # Not below but "not at least": a KL that is not a number is no good news either.
    if kl is not None and not kl >= COLLAPSED_KL:
        reasons.append(f"its KL is {kl:.2g} nats a document (below {COLLAPSED_KL})")
    if active == 0:
        reasons.append(f"none of its {sizes[name]} units is active")
    if not reasons:
        return None
    return (
        f"The posterior of {name} has collapsed: {' and '.join(reasons)}. It says next to nothing "
        "about the document beyond its prior. Lower the weight of its KL, warm that weight up, or "
        "train longer."
    )


def _chance(accuracy: float, majority: float) -> list[str]:
    # 1e-9: two points over 0.25 is 0.27, rounding aside.
    if accuracy > majority + CHANCE_MARGIN + 1e-9:
        return []
    return [
        f"Dev accuracy is {accuracy:.1%}, no better than chance: always answering the most frequent"
        f" class gives {majority:.1%}. The classifier has learned nothing that helps. Raise the"
        " weight of the classification term (alpha), train longer, or check the labels."
    ]
