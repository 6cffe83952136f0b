"""NXVAE in torch: pretraining on two languages with a discriminator (spec §4)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .sdgm import (
    MLP,
    GaussianHead,
    Peer,
    Rows,
    Sizes,
    TextEncoder,
    compile_methods,
    kl,
    make_decoder,
)


class NXVAE(nn.Module):
    """A BiLSTM shared by the languages and a bag of words tied to the embeddings of each."""

    def __init__(self, kind: str, sizes: Sizes):
        super().__init__()
        e, z = sizes.embedding, sizes.latent
        self.languages, self.kl_weight = tuple(sizes.vocab), sizes.kl_weight
        self.encoder = TextEncoder(sizes)
        self.posterior = GaussianHead(self.encoder.width, z)
        self.decoders = nn.ModuleDict(
            {k: make_decoder(kind, "bow", v, e, z, sizes) for k, v in sizes.vocab.items()}
        )
        self.discriminator = MLP(self.encoder.width, sizes.discriminator_hidden, 1)

    def loss(self, rows: Rows, language: str, noise: Tensor) -> Tensor:
        """NLL + a KL + what discriminator and deceiver lose, `[]`; noise `[b, z]`."""
        h = self.encoder(rows, language)
        z, terms = self.terms(h, noise, float(language == self.languages[0]))
        nll = self.decoders[language].nll(z, rows, self.encoder.table(language))
        return (nll + terms).mean()

    def terms(self, h: Tensor, noise: Tensor, target: float) -> tuple[Tensor, Tensor]:
        """The sample of z `[b, z]` and all but the likelihood `[b]`.

        The discriminator, whose target is 1 for the first language, learns from a constant h; the
        encoder, which is to deceive it, from a constant discriminator.
        """
        q = self.posterior(h)
        logits = self.discriminator(h.detach()).float()[:, 0]
        frozen = self.discriminator(h, frozen=True).float()[:, 0]
        adversary = (
            F.softplus(logits) - target * logits + F.softplus(frozen) - (1 - target) * frozen
        )
        return q.sample(noise), self.kl_weight * kl(q) + adversary


class NXVAEPeer(Peer):
    """NXVAE and its training step, one update per language."""

    module: NXVAE

    def loss(
        self, batch: Mapping[str, Rows], noise: Mapping[str, Tensor] | None
    ) -> dict[str, float]:
        """The loss of each language; the gradients of their sum are left in the module."""
        self.optimizer.zero_grad()
        return {k: float(self.backward(rows, k, noise)) for k, rows in batch.items()}

    def step(
        self, batch: Mapping[str, Rows], noise: Mapping[str, Tensor] | None
    ) -> dict[str, float]:
        """One update per language, in order; the losses before each.

        Adam moves the table of the other language too, by what its moments remember.
        """
        losses = {}
        for language, rows in batch.items():
            self.optimizer.zero_grad(set_to_none=False)
            for parameter in self.module.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            losses[language] = self.backward(rows, language, noise)
            self.optimizer.step()
        return {language: float(loss) for language, loss in losses.items()}

    def backward(self, rows: Rows, language: str, noise: Mapping[str, Tensor] | None) -> Tensor:
        """The loss `[]`, after its gradients have been added to the parameters'."""
        if noise is None:
            shape = len(rows["ids"]), self.module.posterior.mean.out_features
            draws = torch.randn(shape, device=self.device)
        else:
            draws = noise[language]
        with self.precision():
            loss = self.module.loss(rows, language, draws)
        loss.backward()
        return loss.detach()


def make_nxvae(
    kind: str, sizes: Sizes, device: Any = "cpu", *, compile: bool = False, autocast: bool = False
) -> NXVAEPeer:
    """NXVAE of the languages of `sizes.vocab`, of the kind "published" or "strong"."""
    if kind == "published" and (compile or autocast):
        raise ValueError("compile and autocast are for the kind strong")
    model = NXVAE(kind, sizes)
    peer = NXVAEPeer(model, kind, device, sizes.learning_rate, autocast)
    if compile:
        compile_methods(model, "terms")
        for decoder in model.decoders.values():
            compile_methods(decoder, "nll")
    return peer
