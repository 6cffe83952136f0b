"""The torch peers beside jaxsdgm on tiny random models: losses, gradients, and an update.

    python benchmarks/peers/check.py [--only=bow,gru,nxvae,bert] [--compile]

Prints a line per comparison with the largest differences; the loss within 1e-4 of ours, gradients
within 1e-3 of each layer's largest. The last figure is the loss after one update by Adam.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxsdgm.layers.bert import BertSize
from jaxsdgm.layers.encoders import TextEncoder, TransformerEncoder
from jaxsdgm.models.nxvae import NXVAE
from jaxsdgm.models.sdgm import M1M2
from jaxsdgm.models.semi import HYPERPARAMETERS
from peers import Sizes, make_bert_step, make_m1m2, make_nxvae
from peers.weights import state_dict

LOSS, GRADIENT, AFTER = 1e-4, 1e-3, 1e-3  # the last is of two roundings, enlarged by Adam
B, BU, T, V, Z, K = 6, 21, 9, 31, 8, 3
ALPHA, RATE = 2.5, 5e-4
VOCAB = {"en": V, "de": V + 4}

Tree = Any


def documents(rng: np.random.Generator, n: int, vocab: int = V) -> dict[str, np.ndarray]:
    """Random ids `[n, t]`, PAD after random lengths `[n]`."""
    lengths = rng.integers(1, T + 1, n)
    ids = rng.integers(1, vocab, (n, T)) * (np.arange(T) < lengths[:, None])
    return {"ids": ids, "lengths": lengths}


def numbered(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What our objectives want beside the documents."""
    n = len(rows["ids"])
    return {**rows, "mask": np.ones(n, np.float32), "row": np.arange(n)}


def stirred(variables: Tree, rng: np.random.Generator) -> tuple[Tree, Tree]:
    """Random parameters and statistics, none of them at 0 or 1; the row of PAD of tables is 0."""

    def stir(path: Any, x: Any) -> np.ndarray:
        x = np.asarray(x) + 0.2 * rng.normal(size=x.shape).astype(np.float32)
        if path[-1].key == "table":
            x[0] = 0
        return np.abs(x) if path[-1].key == "var" else x

    stir_all = lambda tree: jax.tree_util.tree_map_with_path(stir, tree)
    return stir_all(variables["params"]), stir_all(variables["batch_stats"])


def to_torch(tree: Tree) -> Tree:
    """Arrays as tensors."""
    return jax.tree.map(lambda x: torch.from_numpy(np.array(x)), tree)


def injected(noise: Mapping[str, np.ndarray]) -> Callable[..., np.ndarray]:
    """Recorded noise `{name: [b, ...]}` in the form of our objectives, which may add rows."""

    def draw(name: str, row: Any, shape: tuple[int, ...]) -> np.ndarray:
        values = noise[name]
        return jnp.pad(values, [(0, len(row) - len(values)), *[(0, 0)] * len(shape)])

    return draw


class Ours:
    """Loss, gradients and updates of one of our models."""

    def __init__(self, model: Any, params: Tree, stats: Tree, hyper: Mapping[str, float]):
        self.model, self.hyper = model, dict(hyper)
        self.params, self.stats = params, stats
        self.adam = optax.scale_by_adam()
        self.moments = self.adam.init(params)
        self.run = jax.jit(jax.value_and_grad(self.objective, has_aux=True), static_argnums=2)

    def objective(self, params: Tree, stats: Tree, language: str, batch: Any, noise: Any) -> Any:
        """The sum of the groups' mean losses, and new statistics."""
        groups, new = self.model.apply(
            {"params": params, "batch_stats": stats},
            batch,
            language=language,
            hyper=self.hyper,
            noise=injected(noise),
            train=True,
            method="objective",
            mutable="batch_stats",
        )
        return sum(terms["loss"].mean() for terms in groups.values()), new["batch_stats"]

    def step(self, language: str, batch: Any, noise: Any, rate: float) -> tuple[float, Tree]:
        """The loss and the gradients before an update by Adam."""
        (loss, self.stats), gradients = self.run(self.params, self.stats, language, batch, noise)
        updates, self.moments = self.adam.update(gradients, self.moments)
        self.params = jax.tree.map(lambda p, u: p - rate * u, self.params, updates)
        return float(loss), gradients


def compare(name: str, pairs: list[tuple[float, float]], ours: Tree, module: Any) -> None:
    """Prints and asserts: losses (first, after an update), and the gradients that `module` has.

    Gradients are measured against the largest of the layer, since that of a bias before BatchNorm
    is zero but for rounding.
    """
    (first, first_peer), (after, after_peer) = pairs
    gradients = {k: x.numpy() for k, x in state_dict(ours, {}).items()}
    layer = lambda key: key.rpartition(".")[0]
    largest: dict[str, float] = {}
    for key, x in gradients.items():
        largest[layer(key)] = max(largest.get(layer(key), 0), float(np.abs(x).max()))
    worst, worst_name, compared = 0.0, "", 0
    for key, parameter in module.named_parameters():
        if key not in gradients:
            raise AssertionError(f"{name}: no gradient {key} of ours")
        theirs = np.zeros(1) if parameter.grad is None else parameter.grad.numpy()
        size = largest[layer(key)] or 1.0  # of the other language all are zero
        difference = float(np.abs(gradients[key] - theirs).max() / size)
        compared += 1
        if difference >= worst:
            worst, worst_name = difference, key
    d_first = abs(first_peer / first - 1)
    d_after = abs(after_peer / after - 1)
    print(
        f"{name:24s} loss {first:.5f} differs by {d_first:.1e}; {compared} gradients by at most "
        f"{worst:.1e} ({worst_name}); loss after an update {after:.5f} by {d_after:.1e}",
        flush=True,
    )
    assert d_first < LOSS, (first, first_peer)
    assert worst < GRADIENT, worst_name
    assert d_after < AFTER, (after, after_peer)


def m1m2_problem(rng: np.random.Generator, latent: int = Z) -> tuple[Any, dict, dict]:
    """A batch in our form, its torch form, and noise."""
    groups = {"labelled": documents(rng, B), "unlabelled": documents(rng, BU)}
    groups["labelled"]["labels"] = rng.integers(0, K, B)
    shapes = {"labelled_z1": (B, latent), "labelled_z2": (B, latent)}
    shapes |= {"unlabelled_z1": (BU, latent), "unlabelled_z2": (BU, K, latent)}
    noise = {k: rng.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}
    return {k: numbered(rows) for k, rows in groups.items()}, to_torch(groups), noise


def check_m1m2(name: str, model: M1M2, make_peer: Callable[[], Any], latent: int = Z) -> None:
    """One peer of M1+M2 against our model with the same BatchNorm groups."""
    rng = np.random.default_rng(0)
    batch, peer_batch, noise = m1m2_problem(rng, latent)
    init = lambda rows: model.init(jax.random.key(0), rows, method="initialise", languages=("en",))
    params, stats = stirred(init(documents(rng, 3)), rng)
    hyper = {**dict.fromkeys(HYPERPARAMETERS, 1.0), "alpha": ALPHA}
    ours, peer = Ours(model, params, stats, hyper), make_peer()
    peer.load(params, stats)
    peer_noise = to_torch(noise)
    first, gradients = ours.step("en", batch, noise, RATE)
    pairs = [(first, peer.loss(peer_batch, peer_noise, ALPHA))]
    peer_gradients = {k: p.grad.clone() for k, p in peer.module.named_parameters()}
    peer.load(params, stats)  # the statistics again, which a loss has moved
    peer.step(peer_batch, peer_noise, ALPHA)
    after = ours.step("en", batch, noise, RATE)[0]
    pairs.append((after, peer.loss(peer_batch, peer_noise, ALPHA)))
    for k, p in peer.module.named_parameters():
        p.grad = peer_gradients[k]
    compare(name, pairs, gradients, peer.module)
    for k, value in state_dict({}, ours.stats).items():
        theirs = peer.module.state_dict()[k]
        torch.testing.assert_close(theirs, value, rtol=1e-3, atol=1e-3, msg=f"{name}: {k}")


def text_m1m2(decoder: str, kind: str, compile: bool) -> None:
    """M1+M2 on a BiLSTM."""
    sizes = {"embedding": Z, "hidden": 5, "layers": 2, "dropout": 0.0}
    gru = {"inputs": 6, "hidden": 5}
    model = M1M2(
        TextEncoder({"en": V}, **sizes),
        n_classes=K,
        decoder_sizes=VOCAB,
        latent=Z,
        classifier_hidden=11,
        decoder=decoder,
        decoder_config=gru if decoder == "gru" else None,
        unlabelled_chunk=16 if kind == "published" else 0,
    )
    peer_sizes = Sizes(
        {"en": V},
        **sizes,
        latent=Z,
        classes=K,
        classifier_hidden=11,
        gru_inputs=6,
        gru_hidden=5,
        learning_rate=RATE,
    )
    options = {"compile": True} if compile and kind == "strong" else {}
    make = lambda: make_m1m2(kind, peer_sizes, decoder, "cpu", **options)
    check_m1m2(f"M1+M2+{decoder.upper()} {kind}", model, make)


def bert_m1m2(latent: int, compile: bool) -> None:
    """M1+M2+BOW on a BERT, tied; a latent of another width than BERT's has a map between."""
    shape = {"vocab_size": V, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    shape |= {"intermediate_size": 20, "max_position_embeddings": T + 3}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    size = BertSize(V, 12, 2, 3, 20, T + 3, dropout=0.0, attention_dropout=0.0)
    model = M1M2(
        TransformerEncoder(size),
        n_classes=K,
        decoder_sizes={"en": V},
        latent=latent,
        classifier_hidden=0,
        tied=True,
    )
    config = {"bert": {**shape, **off}, "latent": latent, "classes": K, "learning_rate": RATE}
    make = lambda: make_bert_step(config, "cpu", compile=compile)
    check_m1m2(f"BERT M1+M2+BOW z={latent}", model, make, latent)


def nxvae(kind: str, compile: bool) -> None:
    """A round of pretraining: an update on each language, and gradients of each."""
    rng = np.random.default_rng(1)
    sizes = {"embedding": Z, "hidden": 5, "layers": 2, "dropout": 0.0}
    model = NXVAE(VOCAB, sizes, latent=Z, discriminator_hidden=11)
    rows = {k: documents(rng, B, v) for k, v in VOCAB.items()}
    noise = {k: rng.normal(size=(B, Z)).astype(np.float32) for k in VOCAB}
    init = model.init(jax.random.key(0), documents(rng, 3), method="initialise")
    params, stats = stirred(init, rng)
    hyper = {"kl_weight": 0.1, "kl_target": 0.0}
    peer_sizes = Sizes(VOCAB, **sizes, latent=Z, discriminator_hidden=11, learning_rate=RATE)
    options = {"compile": True} if compile and kind == "strong" else {}
    peer = make_nxvae(kind, peer_sizes, "cpu", **options)
    turn = lambda ours, k: ours.step(k, {"sentences": numbered(rows[k])}, {"z": noise[k]}, RATE)
    ours = Ours(model, params, stats, hyper)
    first = {k: turn(ours, k)[0] for k in VOCAB}
    second = {k: turn(ours, k)[0] for k in VOCAB}
    peer.load(params, stats)
    # jax.tree.map sorts its keys, and the order of the languages counts
    peer_rows, peer_noise = ({k: to_torch(x[k]) for k in VOCAB} for x in (rows, noise))
    peer_first, peer_second = (peer.step(peer_rows, peer_noise) for _ in range(2))
    np.testing.assert_allclose([peer_first[k] for k in VOCAB], [*first.values()], rtol=AFTER)
    for k in VOCAB:
        value, gradients = turn(Ours(model, params, stats, hyper), k)
        peer.load(params, stats)
        loss = peer.loss({k: peer_rows[k]}, peer_noise)[k]
        pairs = [(value, loss), (second[k], peer_second[k])]
        compare(f"NXVAE {kind} {k}", pairs, gradients, peer.module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--only", default="bow,gru,nxvae,bert")
    parser.add_argument("--compile", action="store_true", help="torch.compile the strong kind")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = args.only.split(",")
    for kind in ("published", "strong"):
        for decoder in ("bow", "gru"):
            if decoder in wanted:
                text_m1m2(decoder, kind, args.compile)
        if "nxvae" in wanted:
            nxvae(kind, args.compile)
    if "bert" in wanted:
        for latent in (12, Z):
            bert_m1m2(latent, args.compile)


if __name__ == "__main__":
    main()
