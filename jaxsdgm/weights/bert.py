"""The size of a BERT, and what its tensors are called here and in Hugging Face's checkpoints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

#: `gelu` is the exact one (erf), `gelu_new` its tanh approximation
ACTIVATIONS = ("gelu", "gelu_new", "relu")


@dataclass(frozen=True)
class BertSize:
    """Everything of a checkpoint that its tensors do not say; `positions` counts the table's rows.

    Token i of a document takes row `position_offset + i` (2 for RoBERTa's kind, where the row of
    the padding id and those before it are never used). `types` is 0 where there is no table of
    token types. `pooler` is "tanh", or None where the checkpoint has no pooler.
    """

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    types: int = 2
    position_offset: int = 0
    epsilon: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pooler: str | None = "tanh"

    @property
    def max_length(self) -> int:
        """Tokens of the longest document that has a position for each."""
        return self.positions - self.position_offset


class Tensor(NamedTuple):
    """One array: its path in the Flax tree, its shape there, and its name in a checkpoint."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    name: str
    transposed: bool  # torch keeps the weights of a linear map as [out, in]


class Family(NamedTuple):
    """A `model_type`: the class that reads it, the prefix of its names, and the names."""

    model: str
    prefix: str
    modules: Mapping[str, str]  # Flax path -> name; {} stands for the number of the layer


_BERT = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "layer_{}.query": "encoder.layer.{}.attention.self.query",
    "layer_{}.key": "encoder.layer.{}.attention.self.key",
    "layer_{}.value": "encoder.layer.{}.attention.self.value",
    "layer_{}.output": "encoder.layer.{}.attention.output.dense",
    "layer_{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layer_{}.up": "encoder.layer.{}.intermediate.dense",
    "layer_{}.down": "encoder.layer.{}.output.dense",
    "layer_{}.norm": "encoder.layer.{}.output.LayerNorm",
    "pooler": "pooler.dense",
}
_DISTILBERT = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
    "layer_{}.query": "transformer.layer.{}.attention.q_lin",
    "layer_{}.key": "transformer.layer.{}.attention.k_lin",
    "layer_{}.value": "transformer.layer.{}.attention.v_lin",
    "layer_{}.output": "transformer.layer.{}.attention.out_lin",
    "layer_{}.attention_norm": "transformer.layer.{}.sa_layer_norm",
    "layer_{}.up": "transformer.layer.{}.ffn.lin1",
    "layer_{}.down": "transformer.layer.{}.ffn.lin2",
    "layer_{}.norm": "transformer.layer.{}.output_layer_norm",
}
#: MiniLM, LaBSE and multilingual-e5 call themselves `bert`
FAMILIES = {
    "bert": Family("BertModel", "bert.", _BERT),
    "roberta": Family("RobertaModel", "roberta.", _BERT),
    "xlm-roberta": Family("XLMRobertaModel", "roberta.", _BERT),
    "distilbert": Family("DistilBertModel", "distilbert.", _DISTILBERT),
}


#: config.json's key of each field of BertSize, per kind of family
KEYS = {
    "vocab_size": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "epsilon": "layer_norm_eps",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
DISTILBERT_KEYS = {
    "vocab_size": "vocab_size",
    "hidden": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "intermediate": "hidden_dim",
    "positions": "max_position_embeddings",
    "activation": "activation",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
}


def tensors(family: Family, size: BertSize) -> Iterator[Tensor]:
    """Every array of an encoder of that size, heads left out."""
    shapes = _shapes(size)
    for path, name in family.modules.items():
        module = path.rpartition(".")[2]
        if (module == "pooler" and size.pooler is None) or (module == "types" and not size.types):
            continue
        for i in range(size.layers) if "{}" in path else (0,):
            yield from _leaves(tuple(path.format(i).split(".")), shapes[module], name.format(i))


def _shapes(size: BertSize) -> dict[str, tuple[int, ...]]:
    d, f = size.hidden, size.intermediate
    square = dict.fromkeys(("query", "key", "value", "output", "pooler"), (d, d))
    norms = dict.fromkeys(("norm", "attention_norm"), (d,))
    tables = {"words": size.vocab_size, "positions": size.positions, "types": size.types}
    rows = {name: (n, d) for name, n in tables.items()}
    return {**square, **norms, **rows, "up": (d, f), "down": (f, d)}


def _leaves(path: tuple[str, ...], shape: tuple[int, ...], name: str) -> Iterator[Tensor]:
    if path[-1] in ("words", "positions", "types"):
        yield Tensor(path, shape, f"{name}.weight", False)
        return
    weight = "kernel" if len(shape) == 2 else "scale"
    yield Tensor((*path, weight), shape, f"{name}.weight", len(shape) == 2)
    yield Tensor((*path, "bias"), shape[-1:], f"{name}.bias", False)
