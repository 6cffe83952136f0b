"""Hugging Face checkpoints to Flax parameters and back, without torch and without pickle."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (safetensors gives bfloat16 arrays once this is loaded)
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxsdgm.errors import UserError
from jaxsdgm.weights.bert import (
    ACTIVATIONS,
    DISTILBERT_KEYS,
    FAMILIES,
    KEYS,
    BertSize,
    Tensor,
    tensors,
)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
)
_REQUIRED = ("vocab_size", "hidden", "layers", "heads", "intermediate", "positions")
_FLOATS = ("F16", "BF16", "F32", "F64")
_PREFIX = re.compile(r"(bert|roberta|distilbert)\.")
#: what stands on top of an encoder, and a buffer of old checkpoints: left out on purpose
_IGNORED = re.compile(
    r"(cls|lm_head|classifier|pre_classifier|qa_outputs|vocab_\w+)\.|embeddings\.position_ids$"
)


@dataclass(frozen=True)
class Checkpoint:
    """A folder in Hugging Face's layout; `revision` is the hub's commit, None if it is a folder."""

    folder: Path
    revision: str | None


def find_checkpoint(name_or_path: str | Path, revision: str | None = None) -> Checkpoint:
    """A local folder, or the hub's repository of that name (from its cache where that is enough).

    Only config, safetensors and tokenizer files are fetched. HF_HUB_OFFLINE and HF_HOME count.

    Raises:
      UserError: neither a folder nor in the cache nor to be had, or without safetensors.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        checkpoint = Checkpoint(path, None)
    else:
        checkpoint = _from_hub(str(name_or_path), revision)
    if not any((checkpoint.folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise UserError(_not_safetensors(checkpoint.folder, str(name_or_path)))
    return checkpoint


def _from_hub(name: str, revision: str | None) -> Checkpoint:
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise UserError(f"{name}: no such folder, and not a name of the form OWNER/MODEL")
    allowed = ["config.json", WEIGHTS, INDEX, "model-*.safetensors", *TOKENIZER_FILES]
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=allowed)
    except Exception as error:  # the hub and its HTTP library raise many kinds for one cause
        raise UserError(
            f"{name}: neither a folder nor a model in the cache, and the hub did not give it "
            f"({type(error).__name__}); check name and network, or download it elsewhere and give "
            "the folder"
        ) from error
    return Checkpoint(Path(folder), Path(folder).name)


def _not_safetensors(folder: Path, name: str) -> str:
    command = (
        'python -c "from transformers import AutoModel as M, AutoTokenizer as T; n, o = '
        f"'{name}', 'converted'; M.from_pretrained(n).save_pretrained(o); "
        'T.from_pretrained(n).save_pretrained(o)"'
    )
    return (
        f"{folder}: no {WEIGHTS} (a pytorch_model.bin is never read, since unpickling runs code); "
        f"convert it once where torch is installed: {command}"
    )


def read_size(folder: str | Path) -> BertSize:
    """The size that `config.json` states; whether there is a pooler is read off the tensors.

    Raises:
      UserError: a file is missing or damaged, or the architecture is not one of FAMILIES.
    """
    folder = Path(folder)
    config = _read_config(folder)
    keys = DISTILBERT_KEYS if config["model_type"] == "distilbert" else KEYS
    missing = [keys[field] for field in _REQUIRED if not isinstance(config.get(keys[field]), int)]
    if missing:
        raise UserError(f"{folder / 'config.json'}: no number for {', '.join(missing)}")
    fields = {field: config[key] for field, key in keys.items() if key in config}
    size = replace(BertSize(**fields), pooler=None)
    if config["model_type"] == "distilbert":
        size = replace(size, types=0)
    if "roberta" in config["model_type"]:  # rows up to the padding id's are not positions
        size = replace(size, position_offset=config.get("pad_token_id", 1) + 1)
    with ExitStack() as stack:
        names = _open(folder, stack)
    size = replace(size, pooler="tanh") if "pooler.dense.weight" in names else size
    _check(folder / "config.json", config, size)
    return size


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the folder of a checkpoint") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); get it again") from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in FAMILIES:
        raise UserError(f"{path}: model_type {kind!r} is not one of {', '.join(FAMILIES)}")
    return config


def _check(path: Path, config: Mapping[str, Any], size: BertSize) -> None:
    """Refuses what has the same tensors but another meaning."""
    if config.get("embedding_size", size.hidden) != size.hidden:
        raise UserError(f"{path}: embedding_size differs from hidden_size, which is not supported")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(f"{path}: only absolute positions are supported")
    if config.get("is_decoder"):
        raise UserError(f"{path}: is_decoder is set, but only encoders are supported")
    if size.activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"{path}: activation {size.activation!r} is not one of {known}")
    if size.hidden % size.heads:
        raise UserError(f"{path}: {size.hidden} units do not divide among {size.heads} heads")


def _open(folder: Path, stack: ExitStack) -> dict[str, tuple[Any, Path, str]]:
    """Plain name of every tensor of the encoder -> (open file, its path, the name there)."""
    files = [folder / name for name in _shards(folder)]
    handles = [(_open_file(path, stack), path) for path in files]
    names = [(handle, path, name) for handle, path in handles for name in handle.keys()]
    return {_plain(found[2]): found for found in names if not _is_head(found[2])}


def _shards(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        raise UserError(_not_safetensors(folder, str(folder)))
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted({Path(name).name for name in index["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / INDEX}: not an index of shards; get it again") from None


def _open_file(path: Path, stack: ExitStack) -> Any:
    try:
        return stack.enter_context(safe_open(path, framework="np"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, but {INDEX} names it; get it again") from None
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or cut short ({error}); get it again") from None


def _plain(name: str) -> str:
    """Without the prefix of a model with a head, and with today's names of LayerNorm's arrays."""
    name = _PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))


def _is_head(name: str) -> bool:
    return bool(_IGNORED.match(_plain(name)))


def load_weights(
    folder: str | Path, size: BertSize, place: Callable[[np.ndarray], Any] = np.asarray
) -> dict[str, Any]:
    """Parameters of `BertEncoder(size)` as nested dicts of float32 arrays.

    Tensors are read one at a time and become what `place` makes of them, as `jax.device_put` does,
    so that the memory needed is that of the result and once more that of the largest. Heads (masked
    language model, classifier) are left out.

    Raises:
      UserError: files missing or damaged, or tensors missing, unknown or of another shape.
    """
    folder = Path(folder)
    family = FAMILIES[_read_config(folder)["model_type"]]
    wanted = list(tensors(family, size))
    with ExitStack() as stack:
        found = _open(folder, stack)
        slices = {name: handle.get_slice(key) for name, (handle, _, key) in found.items()}
        _compare(folder, wanted, slices)
        return unflatten_dict(
            {t.path: place(_read(*found[t.name][1:], t.transposed)) for t in wanted}
        )


def _read(path: Path, name: str, transposed: bool) -> np.ndarray:
    # opened anew: what was read stays mapped in memory for as long as the file is open
    with safe_open(path, framework="np") as handle:
        array = handle.get_tensor(name)
    return np.ascontiguousarray(array.T if transposed else array, np.float32)


def _compare(folder: Path, wanted: Iterable[Tensor], found: Mapping[str, Any]) -> None:
    expected = {t.name: t.shape[::-1] if t.transposed else t.shape for t in wanted}
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in expected]
    for name in sorted(expected.keys() & found.keys()):
        shape, dtype = tuple(found[name].get_shape()), found[name].get_dtype()
        if shape != expected[name]:
            problems.append(f"{name} is {list(shape)} instead of {list(expected[name])}")
        elif dtype not in _FLOATS:
            problems.append(f"{name} is {dtype}, not floating point of 16 bits or more")
    _raise(folder, problems)


def _raise(folder: Path, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UserError(
            f"{folder}: the tensors are not those of the config: {'; '.join(problems[:8])}{more}"
        )


def write_config(folder: Path, size: BertSize) -> None:
    """The config.json of a BERT of that size; `save_checkpoint` takes it from there."""
    fields = {key: getattr(size, field) for field, key in KEYS.items()}
    config = {"model_type": "bert", **fields, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def save_checkpoint(
    folder: str | Path, params: Mapping[str, Any], size: BertSize, source_folder: str | Path
) -> None:
    """Writes an encoder as a checkpoint that `transformers.AutoModel` reads, float32.

    Config and tokenizer are those of `source_folder`, the checkpoint that the encoder came from.

    Raises:
      UserError: `params` are not those of an encoder of that size.
    """
    folder, source = Path(folder), Path(source_folder)
    config = _read_config(source)
    family = FAMILIES[config["model_type"]]
    arrays = _arrays(folder, flatten_dict(params), list(tensors(family, size)))
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)
    config = {**config, "architectures": [family.model], "dtype": "float32"}
    config.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    partial = folder / f"{WEIGHTS}.partial"
    save_file(arrays, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)


def _arrays(
    folder: Path, params: Mapping[tuple[str, ...], Any], wanted: list[Tensor]
) -> dict[str, np.ndarray]:
    problems = [
        f"{'.'.join(p)} is unknown" for p in sorted(params.keys() - {t.path for t in wanted})
    ]
    for t in wanted:
        shape = np.shape(params[t.path]) if t.path in params else None
        if shape != t.shape:
            problems.append(f"{'.'.join(t.path)} is {shape or 'missing'} instead of {t.shape}")
    _raise(folder, problems)
    arrays = {t: np.asarray(params[t.path], np.float32) for t in wanted}
    return {t.name: np.ascontiguousarray(a.T if t.transposed else a) for t, a in arrays.items()}
