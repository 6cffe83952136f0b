"""SSVAE and its simplifications in torch, whole batches and a softmax at valid tokens only."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .weights import state_dict

PAD = 0


class SSVAE(nn.Module):
    """The networks of jaxsdgm.models.ssvae with two BiLSTMs."""

    def __init__(self, sizes: Any, *, latent: bool, divergence: bool, generative: bool):
        super().__init__()
        s, self.sizes = sizes, sizes
        self.latent, self.divergence, self.generative = latent, divergence, generative
        self.words = nn.Embedding(s.vocabulary, s.embedding, padding_idx=PAD)
        bi = {"batch_first": True, "bidirectional": True}
        self.y_lstm = nn.LSTM(s.embedding, s.hidden, **bi)
        self.classifier = nn.Linear(2 * s.hidden, s.classes)
        if not generative:
            return
        width = s.label_embedding + s.embedding + (s.latent if latent else 0)
        if latent:
            self.z_lstm = nn.LSTM(s.embedding, s.hidden, **bi)
            self.z_mean = nn.Linear(2 * s.hidden, s.latent)
            self.z_scale = nn.Linear(2 * s.hidden, s.latent)
        self.label_table = nn.Parameter(torch.zeros(s.classes, s.label_embedding))
        self.start = nn.Parameter(torch.zeros(s.embedding))
        self.decoder = nn.LSTM(width, s.decoder_hidden, batch_first=True)
        self.output = nn.Linear(s.decoder_hidden, s.vocabulary)

    def read(self, lstm: nn.LSTM, words: Tensor, lengths: Tensor) -> Tensor:
        """Forward and backward last states, `[b, 2h]`."""
        x = F.dropout(words, self.sizes.dropout, self.training)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = lstm(packed)
        return torch.cat([h[0], h[1]], -1)

    def loss(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor], n: int) -> Tensor:
        """The sum of the groups' losses, the first n documents labelled, `[]`."""
        s, ids, lengths = self.sizes, batch["ids"], batch["lengths"]
        if not self.generative:
            ids, lengths = ids[:n], lengths[:n]
        words = self.words(ids)
        logits = self.classifier(self.read(self.y_lstm, words, lengths))
        cross_entropy = F.cross_entropy(logits[:n], batch["labels"][:n])
        if not self.generative:
            return cross_entropy
        y = torch.softmax((torch.log_softmax(logits[n:], -1) + noise["y"]) / s.temperature, -1)
        y = torch.cat([F.one_hot(batch["labels"][:n], s.classes).to(y.dtype), y])
        latents, kl_z = [y @ self.label_table], torch.zeros(len(ids))
        if self.latent:
            h = self.read(self.z_lstm, words, lengths)
            mean, scale = self.z_mean(h), F.softplus(self.z_scale(h))
            latents.append(mean + scale * noise["z"])
            kl_z = 0.5 * (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(-1)
        bound = self.nll(torch.cat(latents, -1), words, ids, lengths)
        if self.divergence:
            log_q = torch.log_softmax(logits[n:], -1)
            kl_y = (log_q.exp() * (log_q + torch.log(torch.tensor(float(s.classes))))).sum(-1)
            bound = bound + s.kl_weight * (kl_z + torch.cat([torch.zeros(n), kl_y]))
        return 0.5 * (cross_entropy + bound[:n].mean() + bound[n:].mean())

    def nll(self, latents: Tensor, words: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """- log p(x | y, z) `[b]`."""
        previous = torch.cat([self.start.expand(len(ids), 1, -1), words[:, :-1]], 1)
        repeated = latents[:, None].expand(-1, previous.shape[1], -1)
        x = F.dropout(torch.cat([repeated, previous], -1), self.sizes.dropout, self.training)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.decoder(packed)[0], batch_first=True)
        ids = ids[:, : states.shape[1]]
        rows, steps = (ids != PAD).nonzero(as_tuple=True)
        token = F.cross_entropy(
            self.output(states[rows, steps]), ids[rows, steps], reduction="none"
        )
        return torch.zeros(len(ids)).index_add(0, rows, token)


class SSVAEPeer:
    """A model, its optimiser and a step."""

    def __init__(self, sizes: Any, **parts: bool):
        self.module, self.sizes = SSVAE(sizes, **parts), sizes
        betas = (0.9, 0.99)
        self.optimizer = torch.optim.Adam(self.module.parameters(), 4e-3, betas, foreach=True)

    def load(self, params: Mapping[str, Any]) -> None:
        """Takes over the parameters of jaxsdgm.models.ssvae.SSVAE."""
        names = {
            "encoder.embeddings.en.weight": "words.weight",
            "label_table": "label_table",
            "decoder.start": "start",
            "decoder.weight": "output.weight",
            "decoder.bias": "output.bias",
        }
        found = {}
        for name, value in state_dict(params, {}).items():
            name = names.get(name, name).replace("encoder.lstm.", "y_lstm.")
            for part, end in (("in", "ih"), ("hidden", "hh")):
                name = name.replace(f"decoder.lstm.kernel_{part}", f"decoder.weight_{end}_l0")
                name = name.replace(f"decoder.lstm.bias_{part}", f"decoder.bias_{end}_l0")
            found[name] = value
        self.module.load_state_dict(found)

    def step(self, batch: Mapping[str, Tensor], n: int) -> None:
        """One update with fresh noise."""
        self.optimizer.zero_grad()
        others = len(batch["ids"]) - n
        gumbel = -torch.log(-torch.log(torch.rand(others, self.sizes.classes)))
        noise = {"y": gumbel, "z": torch.randn(len(batch["ids"]), self.sizes.latent)}
        self.module.loss(batch, noise, n).backward()
        self.optimizer.step()
