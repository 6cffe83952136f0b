"""The text VAE in torch: nn.LSTM at both ends, sentences of one length without padding."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TextVAE(nn.Module):
    """The networks of jaxsdgm.models.textvae."""

    def __init__(self, sizes: Any):
        super().__init__()
        s, self.sizes = sizes, sizes
        self.encoder_words = nn.Embedding(s.vocabulary, s.embedding)
        self.encoder = nn.LSTM(s.embedding, s.hidden, batch_first=True)
        self.head = nn.Linear(s.hidden, 2 * s.latent, bias=False)
        self.words = nn.Embedding(s.vocabulary, s.embedding)
        self.to_state = nn.Linear(s.latent, s.hidden, bias=False)
        self.decoder = nn.LSTM(s.embedding + s.latent, s.hidden, batch_first=True)
        self.logits = nn.Linear(s.hidden, s.vocabulary, bias=False)
        self.dropout = nn.Dropout(0.5)

    def posterior(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        _, (last, _) = self.encoder(self.encoder_words(ids))
        return self.head(last[0]).chunk(2, -1)

    def nll(self, z: Tensor, ids: Tensor) -> Tensor:
        """- log p(x | z) `[b]` of sentences of one length."""
        words = self.dropout(self.words(ids[:, :-1]))
        x = torch.cat([words, z[:, None].expand(-1, words.shape[1], -1)], -1)
        cell = self.to_state(z)[None]
        states, _ = self.decoder(x, (torch.tanh(cell), cell))
        logits = self.logits(self.dropout(states))
        targets = ids[:, 1:].reshape(-1)
        nll = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets, reduction="none")
        return nll.reshape(len(ids), -1).sum(1)

    def loss(self, ids: Tensor, noise: Tensor) -> Tensor:
        """Free bits per dimension at KL weight 1, as the benchmark's."""
        mean, log_var = self.posterior(ids)
        nll = self.nll(mean + torch.exp(0.5 * log_var) * noise, ids)
        kl = 0.5 * (mean**2 + torch.exp(log_var) - log_var - 1)
        free = self.sizes.free_bits / self.sizes.latent
        return (nll + torch.clamp(kl, min=free).sum(1)).mean()


class TextVAEPeer:
    """A model, a step, and the likelihood by importance sampling."""

    def __init__(self, sizes: Any):
        self.module, self.sizes = TextVAE(sizes), sizes
        self.optimizer = torch.optim.SGD(self.module.parameters(), 0.5, foreach=True)

    def load(self, params: Mapping[str, Any]) -> None:
        """Takes over the parameters of jaxsdgm.models.textvae.TextVAE."""
        tensor = lambda x: torch.from_numpy(np.array(x))
        encoder, decoder = params["encoder"], params["decoder"]
        found = {
            "encoder_words.weight": tensor(encoder["table"]),
            "head.weight": tensor(encoder["kernel"].T),
            "words.weight": tensor(decoder["table"]),
            "to_state.weight": tensor(decoder["to_state"].T),
            "logits.weight": tensor(decoder["kernel"].T),
        }
        leaves = {"weight_ih": "kernel_in", "weight_hh": "kernel_hidden"}
        leaves |= {"bias_ih": "bias_in", "bias_hh": "bias_hidden"}
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            for theirs, ours in leaves.items():
                found[f"{name}.{theirs}_l0"] = tensor(part["lstm"][ours].T)
        self.module.load_state_dict(found)

    def step(self, ids: Tensor) -> None:
        """One update with fresh noise."""
        self.optimizer.zero_grad()
        self.module.loss(ids, torch.randn(len(ids), self.sizes.latent)).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 5.0, foreach=True)
        self.optimizer.step()

    @torch.inference_mode()
    def importance_nll(self, ids: Tensor, samples: int, chunk: int) -> Tensor:
        """- log p(x) of one sentence `[1, t]`."""
        self.module.eval()
        mean, log_var = self.module.posterior(ids)
        parts = []
        for _ in range(samples // chunk):
            noise = torch.randn(chunk, self.sizes.latent)
            z = mean + torch.exp(0.5 * log_var) * noise
            ratio = 0.5 * (noise**2 + log_var - z**2).sum(1)
            parts.append(ratio - self.module.nll(z, ids.expand(chunk, -1)))
        return np.log(samples) - torch.logsumexp(torch.cat(parts), 0)
