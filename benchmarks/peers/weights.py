"""Parameter trees of jaxsdgm as torch state dicts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

#: names of ours -> names in the torch modules; both dotted
RENAMED = (
    (r"\b(embeddings|decoders|decoder_tables)_(\w+)", r"\1.\2"),
    (r"\b(classifier|discriminator)\.layer_(\d+)", r"\1.layers.\2"),
    (r"\bbert\.(words|positions|types|norm)\b", r"bert.embeddings.\1"),
    (r"\bembeddings\.words$", "embeddings.word_embeddings.weight"),
    (r"\bembeddings\.positions$", "embeddings.position_embeddings.weight"),
    (r"\bembeddings\.types$", "embeddings.token_type_embeddings.weight"),
    (r"\bembeddings\.norm\b", "embeddings.LayerNorm"),
    (r"\bbert\.layer_(\d+)", r"bert.encoder.layer.\1"),
    (r"\b(layer\.\d+)\.(query|key|value)\b", r"\1.attention.self.\2"),
    (r"\b(layer\.\d+)\.output\b", r"\1.attention.output.dense"),
    (r"\b(layer\.\d+)\.attention_norm\b", r"\1.attention.output.LayerNorm"),
    (r"\b(layer\.\d+)\.up\b", r"\1.intermediate.dense"),
    (r"\b(layer\.\d+)\.down\b", r"\1.output.dense"),
    (r"\b(layer\.\d+)\.norm\b", r"\1.output.LayerNorm"),
    (r"\bbert\.pooler\b", "bert.pooler.dense"),
    (r"\.gru\.kernel_in$", ".gru.weight_ih_l0"),
    (r"\.gru\.kernel_hidden$", ".gru.weight_hh_l0"),
    (r"\.gru\.bias_in$", ".gru.bias_ih_l0"),
    (r"\.gru\.bias_hidden$", ".gru.bias_hh_l0"),
    (r"\.(kernel|scale|table)$", ".weight"),
)
LSTM = re.compile(r"(.*lstm)\.layer_(\d+)\.(kernel|bias)_(in|hidden)")


def load(module: nn.Module, params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> None:
    """Copies parameters and running statistics into a module; every one of its own must be there.

    Decoders and tables of languages that the module lacks are left out.
    """
    state = module.state_dict()
    languages = {name.split(".")[1] for name in state if name.startswith("decoders.")}
    found = {name: x for name, x in state.items() if name.endswith("num_batches_tracked")}
    for name, value in state_dict(params, batch_stats).items():
        match = re.search(r"\b(embeddings|decoders|decoder_tables)\.(\w+)", name)
        if match and ".bert." not in name and match[2] not in languages:
            continue
        found[name] = value
    module.load_state_dict(found)


def state_dict(
    params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """The torch names and tensors of a tree: maps `[in, out]` become `[out, in]`."""
    arrays: dict[str, np.ndarray] = {}
    for path, value in _leaves(params):
        if match := LSTM.fullmatch(path):  # value [2, ...], forward and backward
            kind = {"kernel": "weight", "bias": "bias"}[match[3]]
            part = {"in": "ih", "hidden": "hh"}[match[4]]
            for direction, suffix in zip(value, ("", "_reverse"), strict=True):
                arrays[f"{match[1]}.{kind}_{part}_l{match[2]}{suffix}"] = direction.T
        else:
            transposed = path.rpartition(".")[2] in ("kernel", "kernel_in", "kernel_hidden")
            arrays[_renamed(path)] = value.T if transposed else value
    for path, value in _leaves(batch_stats):
        arrays[re.sub(r"\.(mean|var)$", r".running_\1", path)] = value
    return {name: torch.from_numpy(np.array(x, order="C")) for name, x in arrays.items()}


def _renamed(path: str) -> str:
    for pattern, name in RENAMED:
        path = re.sub(pattern, name, path)
    return path


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", np.asarray(value)
