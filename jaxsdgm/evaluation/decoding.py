"""Sentences that a decoder writes from latents: the likeliest word each time, draws, or a beam."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxsdgm.data.lines import END, PAD, START

#: words, `</s>` included, after which a sentence ends, and one of a beam (as in the paper's code)
MOST, MOST_OF_BEAM = 99, 100

#: (latents `[b, z]`, tokens `[b]`, state) -> logits `[b, v]` of the next words, and the state
NextWord = Callable[[Array, Array, Any], tuple[Array, Any]]


def decode(
    next_word: NextWord, z: Array, state: Any, *, key: Array | None = None, most: int = MOST
) -> Array:
    """Ids `[b, most]` that follow `<s>`, PAD after `</s>`: the likeliest, or with a key draws."""

    def step(carry: Any, i: Array) -> tuple[Any, Array]:
        token, ended, state = carry
        logits, state = next_word(z, token, state)
        if key is None:
            word = logits.argmax(-1)
        else:
            word = jax.random.categorical(jax.random.fold_in(key, i), logits)
        word = jnp.where(ended, PAD, word).astype(jnp.int32)
        return (word, ended | (word == END), state), word

    first = jnp.full(len(z), START, jnp.int32), jnp.zeros(len(z), bool), state
    return jax.lax.scan(step, first, jnp.arange(most))[1].T


def beam_search(
    next_word: NextWord, z: Array, state: Any, *, width: int, most: int = MOST_OF_BEAM
) -> list[int]:
    """The best of `width` sentences of one latent `[z]`, `<s>` and `</s>` included.

    Scores are sums of log-probabilities, lengths do not count. A sentence that ends leaves the beam
    one narrower; what has not ended after `most` words is compared as it is. `state` is a pytree of
    `[1, ...]`.
    """
    step = jax.jit(next_word)
    beams, scores = np.array([[START]]), np.zeros(1)
    ended: list[tuple[float, list[int]]] = []
    for _ in range(most):
        repeated = jnp.broadcast_to(z, (len(beams), z.shape[-1]))
        logits, state = step(repeated, jnp.asarray(beams[:, -1]), state)
        found = scores[:, None] + np.asarray(jax.nn.log_softmax(logits))
        best = np.argsort(-found, axis=None, kind="stable")[: width - len(ended)]
        source, word = np.unravel_index(best, found.shape)
        beams, scores = np.column_stack([beams[source], word]), found[source, word]
        over = word == END
        ended += [(s, b.tolist()) for s, b in zip(scores[over], beams[over], strict=True)]
        beams, scores, source = beams[~over], scores[~over], source[~over]
        if len(ended) >= width:
            break
        state = jax.tree.map(lambda x, kept=source: x[kept], state)
    ended += [(s, b.tolist()) for s, b in zip(scores, beams, strict=True)]
    return max(ended, key=lambda pair: pair[0])[1]
