"""Variational sequential labelers (Chen et al. 2018; spec §3 and §4) and their BiGRU baseline.

Every token has latents, y or z or both, with a Gaussian posterior read off a BiGRU; a decoder
predicts the token's word from them and a linear classifier its tag. The prior of a token's latents
is the posterior that it had when its sentence was last met, and N(0, I) before.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.linear import Linear, uniform_fan
from jaxsdgm.layers.softmax import softmax_nll
from jaxsdgm.layers.token_encoder import (
    MOST_TOKENS,
    PAD,
    TokenEncoder,
    Tokens,
    joined_tokens,
    tokens_of,
)
from jaxsdgm.models.terms import Batch, Groups, Noise, counted_kl, no_noise

#: what `objective` reads from its argument hyper
HYPERPARAMETERS = ("kl_weight", "labelled_weight", "unlabelled_weight")
#: the latents of each system, in the order in which they are drawn
LATENTS = {"bigru": (), "vsl-g": ("z",), "vsl-gg-flat": ("y", "z"), "vsl-gg-hier": ("y", "z")}

Rows = Mapping[str, Array]
Posteriors = dict[str, DiagonalGaussian]


class VSL(nn.Module):
    """One of LATENTS.

    The tag is read off y, or off z where there is no y or `classify` says so (hierarchical only).
    Without `variational` latents are the posterior means and there are no divergences, so that
    unlabelled sentences only have words to explain.
    The decoder is `decoder_layers` ReLU layers and an affine map onto a vector, whose products with
    the word embeddings (`tied`), or with a table of its own, are the logits of all words.
    `train_words` says whether embeddings are trained. `decoder_noise` is the log-variance of
    Gaussian noise on the decoder's vector, which the paper's code had; only to compare with it.
    With `orthogonal` the map from states to the mean of the latent that the classifier reads starts
    orthogonal: as wide as they are, that latent says at first all that they do.
    With `unknown_rate` the encoder does not see a rare word (of the rows' `rare`) so often.

    `sentences` and `tokens` of the training data are the size of what is remembered for priors; a
    prior is replaced at every `update_every`-th visit of its sentence, (labelled, unlabelled).
    """

    encoder: TokenEncoder
    n_tags: int
    system: str = "vsl-gg-hier"
    classify: str = "y"
    variational: bool = True
    latent: int = 50
    tag_latent: int = 25
    decoder_hidden: int = 100
    decoder_layers: int = 2
    tied: bool = True
    train_words: bool = True
    decoder_noise: float | None = None
    orthogonal: bool = False
    unknown_rate: float = 0.0
    sentences: int = 0
    tokens: int = 0
    update_every: tuple[int, int] = (1, 1)
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.classifier = Linear(self.n_tags, **types)
        if not self.latents:
            return
        sizes = self.latents.items()
        first = {self.read: nn.initializers.orthogonal()} if self.orthogonal else {}
        self.means = {name: Linear(size, first.get(name), **types) for name, size in sizes}
        self.log_vars = {name: Linear(size, **types) for name, size in sizes}
        widths = (*(self.decoder_hidden,) * self.decoder_layers, self.encoder.embedding)
        self.decoder = [Linear(width, **types) for width in widths]
        if not self.tied:
            shape = (self.encoder.vocab_size, self.encoder.embedding)
            init = uniform_fan(self.encoder.embedding)
            self.output_table = self.param("output_table", init, shape, self.param_dtype)
        if self.variational and self.tokens:
            self.priors = PriorStore(
                self.sentences, self.tokens, sum(self.latents.values()), self.axis_name
            )

    @property
    def latents(self) -> dict[str, int]:
        """Size of each latent."""
        sizes = {"y": self.tag_latent, "z": self.latent}
        return {name: sizes[name] for name in LATENTS[self.system]}

    @property
    def read(self) -> str:
        """The latent that the classifier reads."""
        return self.classify if "y" in self.latents else "z"

    def initialise(self, rows: Rows) -> None:
        """Touches every parameter; for `init` only."""
        none = jnp.zeros(len(rows["ids"]), int)  # of a mask of zeros no prior is replaced
        rows = {**rows, "row": none, "mask": none, "sentence": none, "start": none}
        rows["labels"] = jnp.zeros_like(rows["ids"])
        rows["rare"] = jnp.zeros_like(rows["ids"], bool)
        hyper: dict[str, Array] = {name: jnp.ones(()) for name in HYPERPARAMETERS}
        self.objective({"labelled": rows}, hyper=hyper, noise=no_noise, train=True)

    # -- densities -------------------------------------------------------------------------------

    def infer(
        self, tokens: Tokens, numbers: Array, rare: Array | None, *, noise: Noise, train: bool
    ) -> tuple[Array, Posteriors, dict[str, Array]]:
        """States h `[n, 2 hidden]`, posteriors and draws `[n, d]` of the latents of n tokens.

        In evaluation, and without `variational`, draws are means. Hier's q(z) is given the draw of
        y. `numbers [n]` name the tokens' noise; of `rare [n]` some are not seen.
        """
        seen = None
        if train and self.unknown_rate and rare is not None:
            hidden = noise("unknown", numbers, (), jax.random.uniform) < self.unknown_rate
            seen = jnp.where(rare & hidden, UNKNOWN, tokens.ids)
        h = self.encoder(tokens, seen)
        found: Posteriors = {}
        drawn: dict[str, Array] = {}
        for name, size in self.latents.items():
            given = [drawn["y"]] if self.system == "vsl-gg-hier" and name == "z" else []
            x = jnp.concatenate([h, *given], -1)
            parts = self.means[name](x), self.log_vars[name](x)
            q = found[name] = DiagonalGaussian(*map(dist.at_least_float32, parts))
            draw = train and self.variational
            drawn[name] = q.sample(noise(name, numbers, (size,))) if draw else q.mean
        return h, found, drawn

    def log_p_tag(self, h: Array, drawn: Mapping[str, Array]) -> Array:
        """log p(tag | latent) `[n, k]`, or of the baseline log p(tag | h)."""
        x = h
        if drawn:
            x = drawn[self.read]
        return jax.nn.log_softmax(dist.at_least_float32(self.classifier(x)))

    def word_vectors(self, drawn: Mapping[str, Array], numbers: Array, noise: Noise) -> Array:
        """The decoder's vectors `[n, e]`, whose products with a table are the words' logits."""
        flat = self.system == "vsl-gg-flat"
        x = jnp.concatenate([drawn["z"], drawn["y"]], -1) if flat else drawn["z"]
        for i, layer in enumerate(self.decoder):
            x = layer(nn.relu(x) if i else x)
        if self.decoder_noise is None:
            return x
        return x + jnp.exp(0.5 * self.decoder_noise) * noise("x", numbers, x.shape[1:])

    def words_nll(self, vectors: Array, ids: Array) -> Array:
        """- log p(word | latents) in nats `[n]`, of the decoder's vectors; 0 of fillers.

        The softmax is over all words, UNKNOWN too; PAD is not one.
        """
        table = self.encoder.table if self.tied else self.output_table
        if self.tied and not self.train_words:
            table = jax.lax.stop_gradient(table)
        vectors, table = promote_dtype(vectors, table, dtype=self.dtype)
        wide = dist.at_least_float32(vectors).dtype
        bias = jnp.where(jnp.arange(len(table)) == PAD, -jnp.inf, 0.0).astype(wide)
        nll: Any = softmax_nll(vectors, table, bias, ids[:, None], False)
        return nll

    # -- the bound -------------------------------------------------------------------------------

    def objective(
        self,
        batch: Batch,
        *,
        hyper: Mapping[str, Array],
        noise: Noise,
        train: bool,
        language: str = "",
    ) -> Groups:
        """Terms per sentence in nats, means over its tokens: {"labelled": ..., "unlabelled": ...}.

        labelled:   loss = cross_entropy + g (NLL + c (kl_y + kl_z))
        unlabelled: loss = alpha (NLL + c (kl_y + kl_z))
        with c the hyperparameter kl_weight, g labelled_weight, alpha unlabelled_weight (spec §4).
        `batch[group]` has what `tokens_of` reads, padded sentences or tokens; row and mask `[b]`;
        labels of tokens, of the labelled group; rare, of tokens; and where priors are remembered
        sentence `[b]`, its number, and start `[b]`, where its first token is. Either group may be
        absent; all sentences are read as one batch. In training the priors are replaced (collection
        "batch_stats").
        """
        groups = [group for group in ("labelled", "unlabelled") if group in batch]
        tokens = joined_tokens([tokens_of(batch[group], self.axis_name) for group in groups])
        rows = {
            name: jnp.concatenate([batch[group][name] for group in groups])
            for name in ("row", "mask", "sentence", "start", "rare")
            if name in batch[groups[0]]
        }
        numbers = rows["row"][tokens.of] * MOST_TOKENS + tokens.at
        rare = rows["rare"].reshape(-1) if "rare" in rows else None
        h, found, drawn = self.infer(tokens, numbers, rare, noise=noise, train=train)
        per_token: dict[str, Array] = {}
        b = len(batch["labelled"]["row"]) if "labelled" in batch else 0
        if drawn:
            vectors = self.word_vectors(drawn, numbers, noise)
            per_token["reconstruction"] = self.words_nll(vectors, tokens.ids)
            if self.variational and train:
                priors = self._priors(rows, tokens, found, b)
                for name, q in found.items():
                    per_token[f"kl_{name}"] = dist.kl(q, priors.get(name))
        means = {name: _token_means(x, tokens) for name, x in per_token.items()}
        terms: Groups = {}
        if b:
            labels = batch["labelled"]["labels"].reshape(-1)
            n = len(labels)
            log_p = self.log_p_tag(h[:n], {name: x[:n] for name, x in drawn.items()})
            wrong = jnp.pad(dist.cross_entropy(log_p, labels), (0, len(tokens.ids) - n))
            terms["labelled"] = {name: x[:b] for name, x in means.items()}
            terms["labelled"]["cross_entropy"] = _token_means(wrong, tokens)[:b]
        if "unlabelled" in batch:
            terms["unlabelled"] = {name: x[b:] for name, x in means.items()}
        for group, found_here in terms.items():
            found_here["loss"] = self._loss(group, found_here, hyper)
        return terms

    def _loss(self, group: str, terms: Mapping[str, Array], hyper: Mapping[str, Array]) -> Array:
        loss = jnp.zeros(())
        if "reconstruction" in terms:
            found = [counted_kl(terms[name], hyper) for name in ("kl_y", "kl_z") if name in terms]
            divergences = sum(found, loss)
            bound = terms["reconstruction"] + hyper["kl_weight"] * divergences
            loss = hyper[f"{group}_weight"] * bound
        return loss + terms.get("cross_entropy", 0.0)

    def _priors(self, rows: Rows, tokens: Tokens, found: Posteriors, b: int) -> Posteriors:
        """The priors of the latents in this step; the first b sentences have labels."""
        if not self.tokens:
            return {}
        joined = DiagonalGaussian(
            *(jnp.concatenate(parts, -1) for parts in zip(*found.values(), strict=True))
        )
        every = jnp.where(jnp.arange(len(rows["row"])) < b, *self.update_every)
        prior, priors, start = self.priors(rows, tokens, joined, every), {}, 0
        for name, size in self.latents.items():
            part = slice(start, start + size)
            priors[name] = DiagonalGaussian(prior.mean[:, part], prior.log_var[:, part])
            start += size
        return priors

    # -- what is read off a trained model ---------------------------------------------------------

    def predict(self, rows: Rows) -> dict[str, Array]:
        """log p(tag) `[b, t, k]`, h and the posterior means of the latents, of padded sentences."""
        shape, tokens = rows["ids"].shape, tokens_of(rows)
        h, found, drawn = self.infer(tokens, tokens.of, None, noise=no_noise, train=False)
        values = {"log_p": self.log_p_tag(h, drawn), "h": h}
        values |= {name: q.mean for name, q in found.items()}
        return {name: x.reshape(*shape, x.shape[-1]) for name, x in values.items()}


#: a word outside the vocabulary
UNKNOWN = 1


class PriorStore(nn.Module):
    """What each training token's prior is: the posterior of the last visit that was remembered.

    Kept in the collection "batch_stats" as `mean` and `log_var [tokens, size]`, zeros at first, and
    the `visits [sentences]`. Where rows are spread over devices, every device keeps all priors and
    is told what the others found.
    """

    sentences: int
    tokens: int
    size: int
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, rows: Rows, tokens: Tokens, posterior: DiagonalGaussian, every: Array
    ) -> DiagonalGaussian:
        """The priors `[n, size]` of tokens, N(0, I) of fillers; the posteriors then replace them.

        They do so at visits 0, `every [b]`, 2 `every`, ... of a sentence, but not those of fillers.
        """
        shape = (self.tokens, self.size)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        log_var = self.variable("batch_stats", "log_var", jnp.zeros, shape)
        visits = self.variable("batch_stats", "visits", jnp.zeros, (self.sentences,), jnp.int32)
        there = rows["mask"] > 0
        real = (tokens.ids != PAD) & there[tokens.of]
        place = rows["start"][tokens.of] + tokens.at
        read = lambda store: jnp.where(real[:, None], store.at[place].get(mode="clip"), 0)
        prior = DiagonalGaussian(read(mean.value), read(log_var.value))
        due = (visits.value[rows["sentence"]] % every == 0)[tokens.of]
        # What is not replaced is written as it was read: then XLA sees that all is read before
        # anything is written, and does not copy the arrays in every step.
        new = [
            jax.lax.stop_gradient(jnp.where(due[:, None], x, old))
            for x, old in zip(posterior, prior, strict=True)
        ]
        # beyond the end, where nothing is written
        place = jnp.where(real, place, self.tokens)
        sentence = jnp.where(there, rows["sentence"], self.sentences)
        told = place, *new, sentence
        if self.axis_name:
            told = jax.lax.all_gather(told, self.axis_name, tiled=True)
        place, new_mean, new_log_var, sentence = told
        mean.value = mean.value.at[place].set(new_mean, mode="drop")
        log_var.value = log_var.value.at[place].set(new_log_var, mode="drop")
        visits.value = visits.value.at[sentence].add(1, mode="drop")
        return prior


def _token_means(values: Array, tokens: Tokens) -> Array:
    """Means `[b]` of values `[n]` over the tokens of sentences; 0 of an empty one."""
    totals = jnp.zeros(len(tokens.grid), values.dtype)
    totals = totals.at[tokens.of].add(jnp.where(tokens.ids != PAD, values, 0))
    return totals / jnp.maximum(tokens.lengths, 1)
