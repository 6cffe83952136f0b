"""Labels in one language, documents in another: one model, two languages a step (spec §9)."""

from collections.abc import Mapping
from typing import Any

from jax import Array

from jaxsdgm.models.terms import Batch, Groups, Noise

#: the languages of a step, in the order in which BatchNorm's running statistics see them
PARTS = ("source", "target")
#: hyperparameters that the target has of its own, as target_alpha and so on
OF_TARGET = ("alpha", "labelled_weight", "unlabelled_weight")


def two_languages(
    model: Any,
    batch: Batch,
    *,
    languages: tuple[str, str],
    hyper: Mapping[str, Array],
    noise: Noise,
    train: bool,
) -> Groups:
    """The terms of a model's `objective` on source and target, {"source_labelled": ..., ...}.

    `batch` has the same groups; one that is absent is not computed. The loss is
        J = l_s mean L_s + alpha_s CE_s + u_s mean U_s + l_t mean L_t + alpha_t CE_t + u_t mean U_t
    with L and U the bounds with and without a label, each language through embeddings and decoder
    of its own. Their weights are hyper's labelled_weight, alpha and unlabelled_weight, the target's
    under target_labelled_weight and so on.
    """
    groups: Groups = {}
    for part, language in zip(PARTS, languages, strict=True):
        prefix = f"{part}_"
        own = {k.removeprefix(prefix): x for k, x in batch.items() if k.startswith(prefix)}
        if own:
            terms = model.objective(
                own,
                language=language,
                hyper=of_language(hyper, part),
                noise=lambda name, *shape, prefix=prefix: noise(prefix + name, *shape),
                train=train,
            )
            groups |= {prefix + name: x for name, x in terms.items()}
    return groups


def of_language(hyper: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The hyperparameters as the objective of one language reads them."""
    if part == "source":
        return dict(hyper)
    return {**hyper, **{name: hyper[f"target_{name}"] for name in OF_TARGET}}
