"""What a sentence's latent knows and how smooth its space is: the probes of Li et al. 2019.

"Paper" is Li et al. 2019, "A Surprisingly Effective Fix for Deep Latent Variable Modeling of
Text", and "spec" is spec/textvae.md, section 7. Everything here is computed on the host, from
arrays and words.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.mixture import GaussianMixture

from jaxsdgm.data.counts import blocks
from jaxsdgm.data.subsets import stratified_subset
from jaxsdgm.errors import UserError

Words = Sequence[Hashable]  # of one sentence: ids or strings, BOS and EOS left out
Labelled = tuple[ArrayLike, ArrayLike]  # posterior means [n, d], labels [n] from 0

ROUNDING = 1e-6  # of float32: distances that differ by less, relative to the means, do not differ
STRENGTHS = tuple(10.0**power for power in range(-3, 5))  # inverse weights of the L2 penalty


def reconstruction_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 in per cent, as multi-bleu.perl counts it (paper, Table 4).

    One reference a sentence, brevity penalty, no smoothing: 0 where no 4-gram of the corpus fits.
    Case is kept. By sacrebleu.

    Args:
      hypotheses: n decoded sentences, their words separated by blanks, without BOS and EOS.
      references: the n sentences that were encoded, likewise.
    """
    if not len(hypotheses) or len(hypotheses) != len(references):
        raise UserError(
            f"BLEU of {len(hypotheses)} sentences against {len(references)} references; "
            "give one reference a sentence, and at least one"
        )
    # force: no warning that the text is in tokens already, which it is
    bleu = BLEU(tokenize="none", smooth_method="none", force=True)
    return bleu.corpus_score(hypotheses, [references]).score


def word_edit_distance(one: Words, other: Words) -> int:
    """The fewest insertions, deletions and substitutions of words that make one of the other.

    A plain string is compared by characters: split it first.
    """
    return Levenshtein.distance(one, other)


def smoothness(
    means: ArrayLike, sentences: Sequence[Words], *, pairs: int = 100_000, seed: int
) -> float:
    """Do sentences that differ little lie close? A correlation, -1 to 1 (paper, Table 5).

    Pearson's, between the Euclidean distance of two posterior means and the edit distance, in
    words, of their sentences, over random pairs. The paper leaves open how pairs are drawn; spec:
    uniformly from all with i != j, here with replacement.

    Args:
      means: [n, d] posterior means of n >= 2 sentences.
      sentences: their words.
      pairs: how many are drawn.
      seed: of the draws.

    Returns:
      The correlation; 0 where it does not exist because all distances are equal, as those of a
      collapsed encoder are, whose means are constant but for the rounding of float32.
    """
    mean = _finite(means, least=2)
    n = len(mean)
    if len(sentences) != n:
        raise UserError(f"{n} means of {len(sentences)} sentences; give one mean a sentence")
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n
    latent = np.linalg.norm(mean[first] - mean[second], axis=1)  # pairs
    words = np.array(
        [word_edit_distance(sentences[i], sentences[j]) for i, j in zip(first, second, strict=True)]
    )
    if np.ptp(latent) <= ROUNDING * np.abs(mean).max() or np.ptp(words) == 0:
        return 0.0
    return float(np.corrcoef(latent, words)[0, 1])


def swap_words(ids: ArrayLike, lengths: ArrayLike, k: int, rng: np.random.Generator) -> np.ndarray:
    """Noise for the encoder: k times two words of every sentence change places (paper, Table 6).

    The paper does not define a swap; spec: two distinct positions, uniformly drawn, each time
    independently of the last, so that a later swap may undo an earlier one. BOS, EOS and padding
    stay where they are, and so do sentences of fewer than two words.

    Args:
      ids: [n, t] BOS, words, EOS, padding.
      lengths: [n] tokens, BOS and EOS counted.
      k: swaps a sentence; with 0 the ids come back as they are.
      rng: of the positions; it moves on.

    Returns:
      [n, t] new ids; the argument is not changed.
    """
    swapped = np.array(ids)  # [n, t], a copy
    words = np.asarray(lengths) - 2
    rows = np.flatnonzero(words >= 2)
    words = words[rows]
    for _ in range(k):
        offset = rng.integers(words)
        one, other = 1 + offset, 1 + (offset + rng.integers(1, words)) % words
        swapped[rows, one], swapped[rows, other] = swapped[rows, other], swapped[rows, one]
    return swapped


def copying_distance(samples: Sequence[Words], train: Sequence[Words]) -> float:
    """Are samples copies? Their edit distance, in words, to the nearest training sentence.

    The mean over the samples; 0 if every one is a training sentence (spec: 300 of the prior on
    PTB). A second, on one core, for 300 samples and the 42068 training sentences of PTB.

    Args:
      samples: words of the decoded sentences.
      train: words of the training sentences.
    """
    if not len(samples) or not len(train):
        raise UserError(
            f"{len(samples)} samples and {len(train)} training sentences; give at least one of each"
        )
    nearest = [
        process.cdist(samples, train[block], scorer=Levenshtein.distance, workers=1).min(axis=1)
        for block in blocks(len(train))
    ]  # of samples, a block
    return float(np.min(nearest, axis=0).mean())


def peak_map(responsibilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """A label for every component, [k]: that of the sentence it is most responsible for.

    Args:
      responsibilities: [n, k] posterior of the components given each sentence.
      labels: [n] of the sentences.
    """
    return np.asarray(labels)[np.argmax(responsibilities, axis=0)]


def one_to_one_map(responsibilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """A label for every component, [k], no two the same, that gets the most sentences right.

    By Hungarian matching of the counts of (most responsible component, label). With fewer labels
    than components those left over get numbers above the last label, which no sentence has: all
    that they claim counts as wrong.

    Args:
      responsibilities: [n, k] posterior of the components given each sentence.
      labels: [n] of the sentences.
    """
    labels = np.asarray(labels)
    k = np.shape(responsibilities)[1]
    counts = np.zeros((k, max(k, labels.max() + 1)), np.int64)
    np.add.at(counts, (np.argmax(responsibilities, axis=1), labels), 1)
    return linear_sum_assignment(counts, maximize=True)[1]


def mapped_accuracy(responsibilities: ArrayLike, labels: ArrayLike, names: ArrayLike) -> float:
    """Share of sentences whose most responsible component has their label.

    Args:
      responsibilities: [n, k] posterior of the components given each sentence.
      labels: [n] of the sentences.
      names: [k] label of every component, by one of the two maps.
    """
    found = np.asarray(names)[np.argmax(responsibilities, axis=1)]
    return float((found == np.asarray(labels)).mean())


def gaussian_mixture(
    train_means: ArrayLike, valid: Labelled, test: Labelled, *, components: int, seed: int
) -> dict[str, float]:
    """Classification without labels for training: clusters of posterior means (paper, Table 8).

    A mixture with full covariances, fitted by scikit-learn's EM on the training means (spec: tol
    1e-3, 200 iterations at most, one start). Validation labels name its components.

    Args:
      train_means: [n, d] of at least two sentences and as many as components.
      valid, test: means and labels.
      components: of the mixture.
      seed: of its start.

    Returns:
      Test accuracy with the components named by `peak_map` (the paper's code's default), as
      "peak", and by `one_to_one_map`, as "one_to_one".
    """
    mean = _finite(train_means, least=max(2, components))
    mixture = GaussianMixture(
        components, covariance_type="full", tol=1e-3, max_iter=200, n_init=1, random_state=seed
    ).fit(mean)
    on_valid, on_test = (mixture.predict_proba(_finite(x, least=1)) for x, _ in (valid, test))
    names = {"peak": peak_map(on_valid, valid[1]), "one_to_one": one_to_one_map(on_valid, valid[1])}
    return {rule: mapped_accuracy(on_test, test[1], found) for rule, found in names.items()}


def draw_labels(labels: ArrayLike, n: int, *, n_classes: int, equal: bool, seed: int) -> np.ndarray:
    """Which n training sentences keep their labels: ascending line numbers [n].

    Args:
      labels: [sentences] of all training sentences.
      n: labels wanted, at least one a class.
      n_classes: classes there are.
      equal: as many of each class as of any other, by `stratified_subset`; else uniformly, without
        replacement.
      seed: of the draw.

    Raises:
      UserError: there are fewer than n labels, or a class gets none.
    """
    labels = np.asarray(labels)
    if equal:
        return np.array(stratified_subset(labels, n=n, seed=seed, n_classes=n_classes).indices)
    if n > len(labels):
        raise UserError(f"{n} labels asked for, but there are only {len(labels)} sentences")
    chosen = np.sort(np.random.default_rng(seed).choice(len(labels), n, replace=False))
    counts = np.bincount(labels[chosen], minlength=n_classes).tolist()
    if 0 in counts:
        raise UserError(
            f"class {counts.index(0)} is not among the {n} labels drawn with seed {seed}; "
            "draw more, or as many of each class"
        )
    return chosen


def linear_probe(
    train: Labelled,
    valid: Labelled,
    test: Labelled,
    *,
    n_labels: int,
    equal: bool = False,
    seed: int,
) -> float:
    """Test accuracy of a softmax-linear layer on frozen posterior means (paper, Table 8).

        p(y | x) = softmax(W mu(x) + b)

    The paper trains W and b by SGD without a penalty and stops early on the loss of the whole
    validation set. Here scikit-learn's logistic regression takes the place of SGD, and the weight
    of an L2 penalty on W, chosen on the same loss from STRENGTHS, that of stopping early.

    Args:
      train: means and labels of all training sentences, of which n_labels are used.
      valid, test: means and labels.
      n_labels: labels drawn from train by `draw_labels`.
      equal: draw as many of each class; else uniformly.
      seed: of the draw.
    """
    (x, y), (x_valid, y_valid), (x_test, y_test) = (
        (_finite(means, least=1), np.asarray(labels)) for means, labels in (train, valid, test)
    )
    n_classes = 1 + max(part.max() for part in (y, y_valid, y_test))
    chosen = draw_labels(y, n_labels, n_classes=n_classes, equal=equal, seed=seed)
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x[chosen], y[chosen]) for c in STRENGTHS]
    losses = [log_loss(y_valid, fit.predict_proba(x_valid), labels=fit.classes_) for fit in fits]
    return float(fits[np.argmin(losses)].score(x_test, y_test))


def _finite(means: ArrayLike, *, least: int) -> np.ndarray:
    """The means [n, d] in float64, once it is sure that there are enough and all are numbers."""
    mean = np.asarray(means, np.float64)
    if len(mean) < least:
        raise UserError(f"{len(mean)} sentences where at least {least} are needed; give more")
    if not np.isfinite(mean).all():
        raise UserError("posterior means that are not finite; the encoder has diverged")
    return mean
