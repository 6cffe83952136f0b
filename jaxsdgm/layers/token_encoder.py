"""Words and their characters to a state for every token, tokens of sentences one after another."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.layers.recurrent import BiGRUParameters, bigru, longest_first

PAD = 0
#: sentences are few: where all have ended the rest is left out, else all are worked on
PACKS = 2
#: words whose characters are read at a time where padding is left out
TILE = 32
#: no sentence has as many tokens
MOST_TOKENS = 1024


class Tokens(NamedTuple):
    """The n tokens of b sentences, without padding but for fillers, whose ids are PAD.

    Words that are spelt alike have one spelling. That is a batch whose sizes n and u are not those
    of b sentences as long as the longest, but whatever the batch at hand has.
    """

    ids: Array  # [n]
    of: Array  # [n], the sentence
    at: Array  # [n], the position in it
    spelling: Array  # [n], which of the spellings
    spellings: Array  # [u, c], characters, PAD at the end
    grid: Array  # [b, t], which token stands there; any where none does

    @property
    def lengths(self) -> Array:
        """Tokens of each sentence, `[b]`."""
        counts = jnp.zeros(len(self.grid), jnp.int32)
        return counts.at[self.of].add((self.ids != PAD).astype(jnp.int32))


def tokens_of(rows: Mapping[str, Array], axis_name: str | None = None) -> Tokens:
    """The tokens of a batch: as they are given, or of padded `ids [b, t]`, `characters [b, t, c]`.

    Of padded sentences all positions are tokens, and all spellings are different. Numbers in tokens
    that are given are those of the whole batch, of which a device has one of equal parts along the
    mapped axis `axis_name`.
    """
    if "of" in rows:
        found = Tokens(*(rows[name] for name in Tokens._fields))
        part = jax.lax.axis_index(axis_name) if axis_name else 0
        return found._replace(
            of=found.of - part * len(found.grid),
            spelling=found.spelling - part * len(found.spellings),
            grid=found.grid - part * len(found.ids),
        )
    ids, characters = jnp.asarray(rows["ids"]), jnp.asarray(rows["characters"])
    (b, t), every = ids.shape, jnp.arange(ids.size)
    spellings, grid = characters.reshape(b * t, -1), every.reshape(b, t)
    return Tokens(ids.reshape(-1), every // t, every % t, every, spellings, grid)


def joined_tokens(parts: list[Tokens]) -> Tokens:
    """Batches of sentences of the same width as one."""
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    return Tokens(
        jnp.concatenate([first.ids, second.ids]),
        jnp.concatenate([first.of, second.of + len(first.grid)]),
        jnp.concatenate([first.at, second.at]),
        jnp.concatenate([first.spelling, second.spelling + len(first.spellings)]),
        jnp.concatenate([first.spellings, second.spellings]),
        jnp.concatenate([first.grid, second.grid + len(first.ids)]),
    )


class TokenEncoder(nn.Module):
    """A BiGRU over words, each its embedding and the last states of a BiGRU over its characters.

    The parameter "table" has the embeddings. `packed`: work for padding is left out, which does not
    go with `vmap` (`layers.gru.gru_scan`).
    """

    vocab_size: int
    n_characters: int
    embedding: int = 100
    hidden: int = 100
    character_embedding: int = 50
    character_hidden: int = 100
    packed: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        init, shape = nn.initializers.normal(0.1), (self.vocab_size, self.embedding)
        self.table = self.param("table", init, shape, self.param_dtype)
        shape = (self.n_characters, self.character_embedding)
        init = nn.initializers.normal(1.0)
        self.characters = self.param("characters", init, shape, self.param_dtype)
        self.character_gru = BiGRUParameters(self.character_hidden, self.param_dtype)
        self.gru = BiGRUParameters(self.hidden, self.param_dtype)

    def __call__(self, tokens: Tokens, seen: Array | None = None) -> Array:
        """States `[n, 2 hidden]`; those of fillers mean nothing. `seen [n]` stand for the ids."""
        spelt = self.spelt(tokens.spellings)[tokens.spelling]
        ids = tokens.ids if seen is None else seen
        x = jnp.concatenate([spelt, self.table[ids].astype(spelt.dtype)], -1)
        parameters = self.gru(x.shape[-1])
        x, kernel_in, kernel_hidden, bias_in, bias_hidden = promote_dtype(
            x, *parameters, dtype=self.dtype
        )
        gates = (jnp.einsum("nd,wdg->wng", x, kernel_in) + bias_in[:, None])[:, tokens.grid]
        lengths = tokens.lengths
        if not self.packed:
            outputs, _ = bigru(gates, kernel_hidden, bias_hidden, lengths, 1)
        else:
            order, back = longest_first(lengths)
            rest = kernel_hidden, bias_hidden, lengths[order], PACKS
            outputs = bigru(gates[:, order], *rest)[0][back]
        return outputs[tokens.of, tokens.at]

    def spelt(self, spellings: Array) -> Array:
        """The last states `[u, 2 character_hidden]` over the characters `[u, c]` of words."""
        parameters = self.character_gru(self.character_embedding)
        table, kernel_in, kernel_hidden, bias_in, bias_hidden = promote_dtype(
            self.characters, *parameters, dtype=self.dtype
        )
        # of few characters and many words: a character's part in the gates is found once
        gates = jnp.einsum("vd,wdg->wvg", table, kernel_in) + bias_in[:, None]

        def states(spellings: Array) -> Array:
            lengths = (spellings != PAD).sum(-1)
            return bigru(gates[:, spellings], kernel_hidden, bias_hidden, lengths, 1)[1]

        return _by_tiles(states, spellings) if self.packed else states(spellings)


def _by_tiles(states: Callable[[Array], Array], words: Array) -> Array:
    """States `[u, h]` of words `[u, c]`, a tile of like lengths at a time; none of padding.

    Short words are tiles of half the steps, or a quarter. A tile is computed again in the backward
    pass: to keep all would cost more than that.
    """
    c, (order, back) = words.shape[1], longest_first((words != PAD).sum(-1))
    tiles = jnp.pad(words[order], ((0, -len(words) % TILE), (0, 0))).reshape(-1, TILE, c)
    shape = jax.eval_shape(states, tiles[0])
    widths = sorted({-(-c // 4), -(-c // 2), c})

    def one(tile: Array) -> Array:
        longest = (tile[0] != PAD).sum()
        nothing = lambda tile: jnp.zeros(shape.shape, shape.dtype)
        # each on its own: around the choice it would fill in the residuals of all widths
        some = [jax.checkpoint(lambda tile, w=w: states(tile[:, :w])) for w in widths]
        return jax.lax.switch(
            (longest > jnp.array([0, *widths[:-1]])).sum(), [nothing, *some], tile
        )

    found = jax.lax.map(one, tiles)
    return found.reshape(-1, shape.shape[-1])[: len(words)][back]
