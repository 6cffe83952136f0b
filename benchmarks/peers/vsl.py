"""VSL-GG-Hier and the BiGRU tagger in torch: real tokens only, the softmax too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PAD = 0


class Tagger(nn.Module):
    """The networks of jaxsdgm.models.vsl, of the systems bigru and vsl-gg-hier."""

    def __init__(self, sizes: Any, *, latents: bool):
        super().__init__()
        s, self.sizes, self.latents = sizes, sizes, latents
        bi = {"batch_first": True, "bidirectional": True}
        self.words = nn.Embedding(s.vocabulary, s.embedding, padding_idx=PAD)
        self.characters = nn.Embedding(s.characters, s.character_embedding, padding_idx=PAD)
        self.character_gru = nn.GRU(s.character_embedding, s.character_hidden, **bi)
        self.gru = nn.GRU(2 * s.character_hidden + s.embedding, s.hidden, **bi)
        self.classifier = nn.Linear(s.tag_latent if latents else 2 * s.hidden, s.tags)
        if not latents:
            return
        h = 2 * s.hidden
        self.y_heads = nn.Linear(h, 2 * s.tag_latent)  # mean and log-variance
        self.z_heads = nn.Linear(h + s.tag_latent, 2 * s.latent)
        self.decoder = nn.Sequential(
            nn.Linear(s.latent, s.decoder_hidden),
            nn.ReLU(),
            nn.Linear(s.decoder_hidden, s.decoder_hidden),
            nn.ReLU(),
            nn.Linear(s.decoder_hidden, s.embedding),
        )

    def states(self, ids: Tensor, characters: Tensor, real: Tensor) -> Tensor:
        """h of real tokens, `[n, 2 hidden]`."""
        spelt = characters[real]
        widths, lengths = (spelt != PAD).sum(-1), real.sum(-1)
        packed = {"batch_first": True, "enforce_sorted": False}
        _, last = self.character_gru(pack_padded_sequence(self.characters(spelt), widths, **packed))
        x = self.words(ids)
        whole = x.new_zeros(*ids.shape, 2 * self.sizes.character_hidden)
        whole = whole.masked_scatter(real[..., None], torch.cat([last[0], last[1]], -1))
        states, _ = self.gru(pack_padded_sequence(torch.cat([whole, x], -1), lengths, **packed))
        return pad_packed_sequence(states, batch_first=True, total_length=ids.shape[1])[0][real]

    def loss(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor], store: Any) -> Tensor:
        """The labelled sentences' loss and a tenth of the others'; the first n are labelled."""
        ids, real, n = batch["ids"], batch["ids"] != PAD, self.sizes.labelled
        if not self.latents:
            ids, real = ids[:n], real[:n]
        of = torch.nonzero(real)[:, 0]
        counts = real.sum(-1)
        mean = lambda values, of: values.new_zeros(len(ids)).index_add(0, of, values) / counts
        h = self.states(ids, batch["characters"][: len(ids)], real)
        labelled = of < n
        tags = batch["labels"][:n][real[:n]]
        if not self.latents:
            wrong = F.cross_entropy(self.classifier(h), tags, reduction="none")
            return mean(wrong, of).mean()
        y_mean, y_log_var = self.y_heads(h).chunk(2, -1)
        y = y_mean + torch.exp(0.5 * y_log_var) * noise["y"]
        z_mean, z_log_var = self.z_heads(torch.cat([h, y], -1)).chunk(2, -1)
        z = z_mean + torch.exp(0.5 * z_log_var) * noise["z"]
        rec = F.cross_entropy(self.decoder(z) @ self.words.weight.T, ids[real], reduction="none")
        posterior = torch.cat([y_mean, z_mean], -1), torch.cat([y_log_var, z_log_var], -1)
        kl = store.divergence(batch["place"][real], *posterior)
        wrong = F.cross_entropy(self.classifier(y[labelled]), tags, reduction="none")
        bound = mean(rec + self.sizes.kl_weight * kl, of)
        supervised = wrong.new_zeros(n).index_add(0, of[labelled], wrong) / counts[:n]
        return supervised.mean() + bound[:n].mean() + 0.1 * bound[n:].mean()


class Store:
    """The posteriors that were last found, which are the priors."""

    def __init__(self, tokens: int, size: int):
        self.mean, self.log_var = torch.zeros(tokens, size), torch.zeros(tokens, size)

    def divergence(self, place: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """KL `[n]` to the priors, which are then replaced."""
        p_mean, p_log_var = self.mean[place], self.log_var[place]
        distance = (mean - p_mean) ** 2 * torch.exp(-p_log_var)
        kl = 0.5 * (p_log_var - log_var + distance + torch.exp(log_var - p_log_var) - 1)
        self.mean[place], self.log_var[place] = mean.detach().float(), log_var.detach().float()
        return kl.sum(-1)


class TaggerPeer:
    """A model, its optimiser, its priors and a step."""

    def __init__(self, sizes: Any, *, latents: bool):
        self.module, self.sizes = Tagger(sizes, latents=latents), sizes
        self.optimizer = torch.optim.Adam(self.module.parameters(), 1e-3, foreach=True)
        size = sizes.latent + sizes.tag_latent
        self.store = Store(sizes.sentences * sizes.length, size)

    def load(self, params: Mapping[str, Any]) -> None:
        """Takes over the parameters of jaxsdgm.models.vsl.VSL."""
        tensor = lambda x: torch.from_numpy(np.array(x))
        encoder = params["encoder"]
        found = {
            "words.weight": tensor(encoder["table"]),
            "characters.weight": tensor(encoder["characters"]),
        }
        leaves = {"weight_ih": "kernel_in", "weight_hh": "kernel_hidden"}
        leaves |= {"bias_ih": "bias_in", "bias_hh": "bias_hidden"}
        for name in ("character_gru", "gru"):
            for theirs, ours in leaves.items():
                for way, end in enumerate(("l0", "l0_reverse")):
                    found[f"{name}.{theirs}_{end}"] = tensor(encoder[name][ours][way].T)
        linear = {"classifier": ["classifier"]}
        if self.module.latents:
            linear |= {f"{k}_heads": [f"means_{k}", f"log_vars_{k}"] for k in "yz"}
            linear |= {f"decoder.{2 * i}": [f"decoder_{i}"] for i in range(3)}
        for theirs, ours in linear.items():
            kernels = [tensor(params[name]["kernel"].T) for name in ours]
            found[f"{theirs}.weight"] = torch.cat(kernels)
            found[f"{theirs}.bias"] = torch.cat([tensor(params[name]["bias"]) for name in ours])
        self.module.load_state_dict(found)

    def step(self, batch: Mapping[str, Tensor]) -> None:
        """One update with fresh noise."""
        self.optimizer.zero_grad()
        n, s = int((batch["ids"] != PAD).sum()), self.sizes
        noise = {"y": torch.randn(n, s.tag_latent), "z": torch.randn(n, s.latent)}
        self.module.loss(batch, noise, self.store).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 10.0, foreach=True)
        self.optimizer.step()
