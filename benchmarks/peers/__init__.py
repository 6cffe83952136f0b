"""The models of this library written again in torch, to be timed beside it on the same numbers.

Two kinds of peer compute the same losses from the same weights and noise:

published  what the papers' implementation does (spec §6.5): unlabelled documents in chunks of 16
           with a backward pass each, bag-of-words logits at every position, a GRU over padded rows;
strong     the same mathematics as one would write it today: the whole batch at once, one
           log-sum-exp a document, no logits at padding, a fused Adam, and on request torch.compile
           and bfloat16.

    sizes = Sizes({"en": 40_002})                       # the paper's other values are defaults
    peer = make_m1m2(kind, sizes, decoder, device)      # kind published, strong; decoder bow, gru
    peer.load(params, batch_stats)                      # numpy trees of jaxsdgm.models.sdgm.M1M2
    peer.loss(batch, noise, alpha) -> float             # forward and backward; gradients stay
    peer.step(batch, noise, alpha) -> float             # the same, then one update by Adam
    batch  {"labelled": {"ids" [b, t], "lengths" [b], "labels" [b]},
            "unlabelled": {"ids" [b', t], "lengths" [b']}}
    noise  {"labelled_z1" [b, z], "labelled_z2" [b, z],
            "unlabelled_z1" [b', z], "unlabelled_z2" [b', k, z]}, or None: drawn at every call

    peer = make_nxvae(kind, sizes, device)              # sizes.vocab names the languages in order
    peer.step(batch, noise) -> {language: float}        # one update per language of the batch
    peer.loss(batch, noise) -> {language: float}        # the gradients of all of them add up
    batch  {language: {"ids" [b, t], "lengths" [b]}};  noise  {language: [b, z]} or None

    peer = make_bert_step(config, device, autocast)     # M1+M2+BOW on a BertModel; kind strong

ids, lengths and labels are int64 tensors; noise is float32. All are on the device, but lengths are
best left on the CPU, where packing sequences reads them. `sizes.dropout` is 0.2 as in the paper;
set it to 0 to compare. `make_m1m2` and `make_nxvae` take compile= and autocast= (of the kind strong
alone; bfloat16). Statistics of BatchNorm are those of a chunk where there are chunks: "published"
is M1M2(unlabelled_chunk=16), "strong" is M1M2(unlabelled_chunk=0). `peer.module` is the module.
"""

from .nxvae import make_nxvae
from .sdgm import Sizes, make_bert_step, make_m1m2

__all__ = ["Sizes", "make_bert_step", "make_m1m2", "make_nxvae"]
