"""M1+M2 in torch: layers, the bound, and the two ways of taking a step (see the package)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from .weights import load

PAD = 0
KINDS = ("published", "strong")
Rows = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """What a peer needs to know; `vocab` is {language: words} (M1+M2 takes the first)."""

    vocab: Mapping[str, int]
    embedding: int = 300
    hidden: int = 600
    layers: int = 2
    latent: int = 300
    classes: int = 4
    classifier_hidden: int = 1024
    discriminator_hidden: int = 1024
    gru_inputs: int = 100
    gru_hidden: int = 50
    dropout: float = 0.2
    kl_weight: float = 0.1  # of NXVAE
    learning_rate: float = 5e-4
    unlabelled_chunk: int = 16  # of the published kind
    tied: bool = False


# -- layers --------------------------------------------------------------------------------------


class Gaussian(NamedTuple):
    """N(mean, diag(exp(log_var))), both `[..., z]` in float32."""

    mean: Tensor
    log_var: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + exp(log_var / 2) * noise."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise

    def repeat(self, times: int) -> "Gaussian":
        """Each row `times` times in a row."""
        return Gaussian(*(x.repeat_interleave(times, 0) for x in self))


def kl(q: Gaussian, p: Gaussian | None = None) -> Tensor:
    """KL(q || p) in nats `[...]`; p is N(0, I) unless given."""
    if p is None:
        return 0.5 * (q.mean**2 + q.log_var.exp() - 1 - q.log_var).sum(-1)
    distance = (q.mean - p.mean) ** 2 * torch.exp(-p.log_var)
    ratio = q.log_var - p.log_var
    return 0.5 * (ratio.exp() - ratio - 1 + distance).sum(-1)


class RowNorm(nn.BatchNorm1d):
    """BatchNorm1d that normalises a single row with the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """`x [rows, d]`."""
        if self.training and len(x) == 1:
            fixed = (self.running_mean, self.running_var, self.weight, self.bias)
            return F.batch_norm(x, *fixed, training=False, eps=self.eps)
        return super().forward(x)


class GaussianHead(nn.Module):
    """Linear, BatchNorm, ReLU, then a Linear each for mean and log-variance."""

    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, features)
        self.norm = RowNorm(features)
        self.mean = nn.Linear(features, features)
        self.log_var = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Gaussian:
        """`x [rows, d]` to a Gaussian over `[rows, features]`."""
        x = F.relu(self.norm(self.hidden(x)))
        return Gaussian(self.mean(x).float(), self.log_var(x).float())


class LabelledLatent(nn.Module):
    """A Gaussian head on LeakyReLU(BatchNorm(z + Linear(y)))."""

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.label_shift = nn.Linear(classes, features)
        self.norm = RowNorm(features)
        self.head = GaussianHead(features, features)

    def forward(self, z: Tensor, y: Tensor) -> Gaussian:
        """`z [rows, z]`, one-hot `y [rows, k]`."""
        return self.head(F.leaky_relu(self.norm(z + self.label_shift(y))))


class MLP(nn.Module):
    """Linear, LeakyReLU, ..., Linear; a hidden width of 0 leaves one Linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        widths = [inputs, *([hidden] if hidden else []), outputs]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """`x [b, d]` to `[b, outputs]`; `frozen` parameters are constants."""
        for i, layer in enumerate(self.layers):
            x = F.leaky_relu(x) if i else x
            weight, bias = layer.weight, layer.bias
            x = F.linear(x, *((weight.detach(), bias.detach()) if frozen else (weight, bias)))
        return x


class TextEncoder(nn.Module):
    """Embeddings per language and a packed bidirectional LSTM: h of a document `[b, 2 hidden]`."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.width = 2 * sizes.hidden
        self.embeddings = nn.ModuleDict(
            {k: nn.Embedding(v, sizes.embedding, PAD) for k, v in sizes.vocab.items()}
        )
        self.drop = nn.Dropout(sizes.dropout)
        self.lstm = nn.LSTM(
            sizes.embedding,
            sizes.hidden,
            sizes.layers,
            batch_first=True,
            dropout=sizes.dropout if sizes.layers > 1 else 0.0,
            bidirectional=True,
        )

    def forward(self, rows: Rows, language: str) -> Tensor:
        """ids `[b, t]`, lengths `[b]` to the top layer's last states, forward and backward."""
        x = self.drop(self.embeddings[language](rows["ids"]))
        packed = pack_padded_sequence(
            x, rows["lengths"].cpu(), batch_first=True, enforce_sorted=False
        )
        last = self.lstm(packed)[1][0]  # 2 layers, b, h
        return torch.cat([last[-2], last[-1]], -1)

    def table(self, language: str) -> nn.Embedding:
        """The word table of a language."""
        return self.embeddings[language]


class BertEncoder(nn.Module):
    """The pooled first token of a BertModel."""

    def __init__(self, bert: nn.Module):
        super().__init__()
        self.bert, self.width = bert, bert.config.hidden_size

    def forward(self, rows: Rows, language: str) -> Tensor:
        """ids `[b, t]`, lengths `[b]` to `[b, d]`."""
        ids, lengths = rows["ids"], rows["lengths"].to(rows["ids"].device)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        return self.bert(ids, attention_mask=mask.long()).pooler_output

    def table(self, language: str) -> nn.Embedding:
        """The wordpieces' table."""
        return self.bert.get_input_embeddings()


# -- decoders ------------------------------------------------------------------------------------


class BagOfWords(nn.Module):
    """logits = z E^T + b, where PAD's score is 0: one log-sum-exp a document and a gather."""

    def __init__(self, vocab: int):
        super().__init__()
        self.bias = nn.Parameter(torch.rand(vocab))

    def nll(self, z: Tensor, rows: Rows, table: nn.Embedding) -> Tensor:
        """- log p(words | z) in nats `[b]`, of `z [b, e]`, ids `[b, t]`."""
        ids, bias = rows["ids"], self.bias
        logits = F.linear(z, table.weight, bias).float()  # b v
        logits[:, PAD] = bias[PAD]  # not z E[PAD] + b, so that the row of PAD has no gradient
        mask = ids != PAD
        picked = (logits.gather(1, ids) * mask).sum(1)
        return mask.sum(1) * logits.logsumexp(1) - picked


class ExpandedBagOfWords(BagOfWords):
    """The same with the logits repeated at every position (spec §3.4).

    The whole table passes through the embedding layer and its dropout. Its row of PAD is zero.
    """

    def __init__(self, vocab: int, dropout: float):
        super().__init__(vocab)
        self.dropout = dropout

    def nll(self, z: Tensor, rows: Rows, table: nn.Embedding) -> Tensor:
        """As the parent's."""
        ids = rows["ids"]
        words = table(torch.arange(len(self.bias), device=z.device))  # v e
        words = F.dropout(words, self.dropout, self.training)
        logits = (z @ words.T + self.bias)[:, :, None].expand(-1, -1, ids.shape[1])  # b v t
        return F.cross_entropy(logits, ids, ignore_index=PAD, reduction="none").sum(1)


class GRUDecoder(nn.Module):
    """A GRU language model that starts from z and is fed z at every step (spec §3.5)."""

    def __init__(self, vocab: int, table_width: int, latent: int, inputs: int, hidden: int):
        super().__init__()
        self.first_state = nn.Linear(latent, hidden)
        self.step_input = nn.Linear(table_width + latent, inputs)
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        words = nn.Linear(hidden, vocab)
        self.weight, self.bias = words.weight, words.bias

    def inputs(self, z: Tensor, ids: Tensor, table: nn.Embedding, dropout: float = 0.0) -> Tensor:
        """What the GRU reads `[b, t, inputs]`: the word before, PAD at the start, and z."""
        previous = F.pad(ids[:, :-1], (1, 0), value=PAD)
        x = F.dropout(table(previous), dropout, self.training)
        z = z[:, None].expand(-1, ids.shape[1], -1)
        return self.step_input(torch.cat([x, z.to(x.dtype)], -1))


class PaddedGRU(GRUDecoder):
    """Steps and logits `[b, t, v]` at every position, padding too.

    The inputs pass through the embedding layer and its dropout (spec §3.5).
    """

    def __init__(self, *sizes: int, dropout: float):
        super().__init__(*sizes)
        self.dropout = dropout

    def nll(self, z: Tensor, rows: Rows, table: nn.Embedding) -> Tensor:
        """- log p(words | z) in nats `[b]`, of `z [b, z]`, ids `[b, t]`."""
        ids = rows["ids"]
        x = self.inputs(z, ids, table, self.dropout)
        states = self.gru(x, self.first_state(z)[None])[0]  # b t h
        logits = F.linear(states, self.weight, self.bias).flatten(0, 1)  # b*t v
        nll = F.cross_entropy(logits, ids.flatten(), ignore_index=PAD, reduction="none")
        return nll.view(ids.shape).sum(1)


class PackedGRU(GRUDecoder):
    """Steps and logits of words alone, and of `at_once` words at a time.

    The logits are made again in the backward pass.
    """

    at_once = 8192

    def nll(self, z: Tensor, rows: Rows, table: nn.Embedding) -> Tensor:
        """- log p(words | z) in nats `[b]`, of `z [b, z]`, ids `[b, t]`, lengths `[b]`."""
        ids, lengths = rows["ids"], rows["lengths"].cpu()
        pack = lambda x: pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states = self.gru(pack(self.inputs(z, ids, table)), self.first_state(z)[None])[0].data
        document = torch.arange(len(ids), device=ids.device)[:, None].expand(ids.shape)
        parts = zip(
            states.split(self.at_once), pack(ids).data.split(self.at_once), strict=True
        )  # n h, n
        nll = torch.cat([checkpoint(self.words_nll, *part, use_reentrant=False) for part in parts])
        return nll.new_zeros(len(ids)).index_add(0, pack(document).data, nll)

    def words_nll(self, states: Tensor, words: Tensor) -> Tensor:
        """`[n, h]` and ids `[n]` to nats `[n]`."""
        logits = F.linear(states, self.weight, self.bias).float()
        return F.cross_entropy(logits, words, ignore_index=PAD, reduction="none")


def make_decoder(
    kind: str, decoder: str, vocab: int, table_width: int, latent: int, sizes: Sizes
) -> nn.Module:
    """The decoder of a kind of peer: "bow" or "gru"."""
    if decoder == "bow":
        strong = kind == "strong"
        return BagOfWords(vocab) if strong else ExpandedBagOfWords(vocab, sizes.dropout)
    shape = (vocab, table_width, latent, sizes.gru_inputs, sizes.gru_hidden)
    return PackedGRU(*shape) if kind == "strong" else PaddedGRU(*shape, dropout=sizes.dropout)


# -- the model -----------------------------------------------------------------------------------


class M1M2(nn.Module):
    """The bound of labelled and of unlabelled documents of one language (spec §6.2, §6.3).

    A bag of words whose table is not as wide as z1 reads z1 through a linear map, `to_words`.
    """

    def __init__(self, encoder: nn.Module, kind: str, decoder: str, sizes: Sizes):
        super().__init__()
        self.language, vocab = next(iter(sizes.vocab.items()))
        self.encoder, self.classes = encoder, sizes.classes
        z, width = sizes.latent, encoder.table(self.language).embedding_dim
        self.posterior = GaussianHead(encoder.width, z)
        self.classifier = MLP(z, sizes.classifier_hidden, sizes.classes)
        self.z2_posterior = LabelledLatent(z, sizes.classes)
        self.z1_prior = LabelledLatent(z, sizes.classes)
        made = make_decoder(kind, decoder, vocab, width, z, sizes)
        self.decoders = nn.ModuleDict({self.language: made})
        if not sizes.tied:
            self.decoder_tables = nn.ModuleDict({self.language: nn.Embedding(vocab, width, PAD)})
        if decoder == "bow" and width != z:
            self.to_words = nn.Linear(z, width)

    def encode(self, rows: Rows) -> Tensor:
        """h `[b, d]`."""
        return self.encoder(rows, self.language)

    def nll(self, z1: Tensor, rows: Rows) -> Tensor:
        """- log p(x | z1) `[b]`."""
        tied = not hasattr(self, "decoder_tables")
        table = self.encoder.table(self.language) if tied else self.decoder_tables[self.language]
        z1 = self.to_words(z1) if hasattr(self, "to_words") else z1
        return self.decoders[self.language].nll(z1, rows, table)

    def labelled(self, h: Tensor, rows: Rows, noise: Rows, alpha: float) -> Tensor:
        """NLL + KL of z1 + KL of z2 - log p(y) + alpha cross-entropy, `[b]`."""
        draws = noise["labelled_z1"], noise["labelled_z2"]
        z1, terms = self.labelled_terms(h, rows["labels"], *draws, alpha)
        return self.nll(z1, rows) + terms

    def unlabelled(self, h: Tensor, rows: Rows, noise: Rows) -> Tensor:
        """NLL + sum_y q(y|x) (KL of z1 + KL of z2) + KL(q(y|x) || p(y)), `[b]`."""
        z1, terms = self.unlabelled_terms(h, noise["unlabelled_z1"], noise["unlabelled_z2"])
        return self.nll(z1, rows) + terms

    def labelled_terms(
        self, h: Tensor, labels: Tensor, noise_z1: Tensor, noise_z2: Tensor, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """The sample of z1 `[b, z]` and all but the likelihood `[b]`; noise `[b, z]`."""
        q1 = self.posterior(h)
        z1 = q1.sample(noise_z1)
        cross_entropy = F.cross_entropy(self.classifier(z1).float(), labels, reduction="none")
        y = F.one_hot(labels, self.classes).to(z1.dtype)
        terms = self.given_label(q1, z1, y, noise_z2) + math.log(self.classes)
        return z1, terms + alpha * cross_entropy

    def unlabelled_terms(
        self, h: Tensor, noise_z1: Tensor, noise_z2: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same of unlabelled documents; noise `[b, z]` and `[b, k, z]`.

        Every label is tried: rows are document-major, row = document * k + y.
        """
        b, k = len(h), self.classes
        q1 = self.posterior(h)
        z1 = q1.sample(noise_z1)
        log_q = F.log_softmax(self.classifier(z1).float(), -1)  # b k
        y = torch.eye(k, device=h.device, dtype=z1.dtype).repeat(b, 1)  # b*k k
        repeated = q1.repeat(k), z1.repeat_interleave(k, 0)
        terms = self.given_label(*repeated, y, noise_z2.flatten(0, 1)).view(b, k)
        return z1, (log_q.exp() * (terms + log_q + math.log(k))).sum(1)

    def given_label(self, q1: Gaussian, z1: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """KL(q(z2|z1,y) || N(0, I)) + KL(q(z1|x) || p(z1|z2,y)), `[rows]`."""
        q2 = self.z2_posterior(z1, y)
        return kl(q2) + kl(q1, self.z1_prior(q2.sample(noise), y))


# -- training ------------------------------------------------------------------------------------


class Peer:
    """A module and its Adam."""

    def __init__(
        self, module: nn.Module, kind: str, device: Any, learning_rate: float, autocast: bool
    ):
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; use one of {', '.join(KINDS)}")
        self.device = torch.device(device)
        self.module, self.autocast = module.to(self.device).train(), autocast
        fused = {"fused": True} if kind == "strong" else {}
        self.optimizer = torch.optim.Adam(module.parameters(), learning_rate, **fused)

    def load(self, params: Any, batch_stats: Any) -> None:
        """Takes over the parameters and running statistics of the jaxsdgm model (numpy trees)."""
        load(self.module, params, batch_stats)

    def precision(self) -> torch.autocast:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)


class M1M2Peer(Peer, ABC):
    """M1+M2 and its training step; subclasses say how gradients come about."""

    module: M1M2

    def loss(self, batch: Mapping[str, Rows], noise: Rows | None, alpha: float) -> float:
        """The loss of a batch; its gradients are left in the module."""
        self.optimizer.zero_grad()
        return float(self.backward(batch, self.draw(batch) if noise is None else noise, alpha))

    def step(self, batch: Mapping[str, Rows], noise: Rows | None, alpha: float) -> float:
        """The loss of a batch before the update that it makes."""
        loss = self.loss(batch, noise, alpha)
        self.optimizer.step()
        return loss

    def draw(self, batch: Mapping[str, Rows]) -> dict[str, Tensor]:
        """Fresh noise."""
        z, k = self.module.posterior.mean.out_features, self.module.classes
        b, n = len(batch["labelled"]["ids"]), len(batch["unlabelled"]["ids"])
        shapes = {"labelled_z1": (b, z), "labelled_z2": (b, z)}
        shapes |= {"unlabelled_z1": (n, z), "unlabelled_z2": (n, k, z)}
        return {name: torch.randn(s, device=self.device) for name, s in shapes.items()}

    @abstractmethod
    def backward(self, batch: Mapping[str, Rows], noise: Rows, alpha: float) -> Tensor:
        """The loss `[]`, after its gradients have been added to the parameters'."""


class PublishedM1M2(M1M2Peer):
    """Gradients accumulate over the labelled rows and chunks of the unlabelled ones."""

    chunk: int

    def backward(self, batch: Mapping[str, Rows], noise: Rows, alpha: float) -> Tensor:
        """As the parent's."""
        model, rows = self.module, batch["labelled"]
        loss = model.labelled(model.encode(rows), rows, noise, alpha).mean()
        loss.backward()
        total, rows = loss.detach(), batch["unlabelled"]
        n = len(rows["ids"])
        for start in range(0, n, self.chunk):
            pick = lambda tree, part=slice(start, start + self.chunk): {
                name: x[part] for name, x in tree.items()
            }
            some = pick(rows)
            loss = model.unlabelled(model.encode(some), some, pick(noise)).sum() / n
            loss.backward()
            total += loss.detach()
        return total


class StrongM1M2(M1M2Peer):
    """All documents pass the encoder together, and there is one backward pass."""

    def backward(self, batch: Mapping[str, Rows], noise: Rows, alpha: float) -> Tensor:
        """As the parent's."""
        labelled, unlabelled = batch["labelled"], batch["unlabelled"]
        n = len(labelled["ids"])
        with self.precision():
            together = {k: torch.cat([labelled[k], unlabelled[k]]) for k in ("ids", "lengths")}
            h = self.module.encode(together)
            loss = self.module.labelled(h[:n], labelled, noise, alpha).mean()
            loss = loss + self.module.unlabelled(h[n:], unlabelled, noise).mean()
        loss.backward()
        return loss.detach()


def compile_methods(owner: Any, *names: str) -> None:
    """Replaces methods by compiled ones (what is left out has packed sequences in it)."""
    for name in names:
        method: Callable[..., Any] = getattr(owner, name)
        setattr(owner, name, torch.compile(method, dynamic=False))


def make_m1m2(
    kind: str,
    sizes: Sizes,
    decoder: str,
    device: Any = "cpu",
    *,
    compile: bool = False,
    autocast: bool = False,
) -> M1M2Peer:
    """M1+M2 on a BiLSTM with a "bow" or "gru" decoder, of the kind "published" or "strong"."""
    return _peer(
        M1M2(TextEncoder(sizes), kind, decoder, sizes), kind, sizes, device, compile, autocast
    )


def make_bert_step(
    config: Mapping[str, Any],
    device: Any = "cpu",
    autocast: bool = False,
    *,
    compile: bool = False,
) -> M1M2Peer:
    """M1+M2+BOW on the pooled first token of a fresh BertModel, of the kind "strong".

    `config["bert"]` are fields of transformers' BertConfig (dropout included). Others, with the
    values of configs/mldoc_mbert.py where they are missing: language "en", latent (BERT's width),
    classes 4, classifier_hidden 0, tied True, learning_rate 2e-5, checkpointing True (the layers
    are computed again in the backward pass). A latent of another width than BERT's passes
    `to_words`.
    """
    from transformers import BertConfig, BertModel

    config = {
        "language": "en",
        "tied": True,
        "classifier_hidden": 0,
        "learning_rate": 2e-5,
        **config,
    }
    size = BertConfig(**config.pop("bert"), use_cache=False)
    remat = config.pop("checkpointing", True)
    bert = BertModel(size)
    if remat:
        bert.gradient_checkpointing_enable({"use_reentrant": False})
    config = {"latent": size.hidden_size, **config}
    sizes = Sizes({config.pop("language"): size.vocab_size}, **config)
    model = M1M2(BertEncoder(bert), "strong", "bow", sizes)
    if compile:
        bert.compile(dynamic=False)
    return _peer(model, "strong", sizes, device, compile, autocast)


def _peer(
    model: M1M2, kind: str, sizes: Sizes, device: Any, compile: bool, autocast: bool
) -> M1M2Peer:
    if kind == "published":
        if compile or autocast:
            raise ValueError("compile and autocast are for the kind strong")
        peer = PublishedM1M2(model, kind, device, sizes.learning_rate, False)
        peer.chunk = sizes.unlabelled_chunk
        return peer
    peer = StrongM1M2(model, kind, device, sizes.learning_rate, autocast)
    if compile:
        decoder = model.decoders[model.language]
        compile_methods(model, "labelled_terms", "unlabelled_terms")
        compile_methods(decoder, "words_nll" if isinstance(decoder, PackedGRU) else "nll")
    return peer
