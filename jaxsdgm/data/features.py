"""Document vectors that are made once: how they are scaled, and the cache that they lie in."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxsdgm.errors import UserError


@dataclass(frozen=True)
class Scaling:
    """x -> (x / |x| - centre) / scale, with the mean and the spread of the training documents.

    One number scales all dimensions: their relative sizes are the encoder's and carry meaning.
    """

    centre: np.ndarray  # [d]
    scale: float

    @classmethod
    def of(cls, features: np.ndarray) -> "Scaling":
        """The scaling that gives `features [n, d]` mean 0 and mean square 1."""
        unit = _unit(features)
        centre = unit.mean(0)
        return cls(centre, float(np.sqrt(np.mean((unit - centre) ** 2))) or 1.0)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """`[n, d]` to `[n, d]` float32."""
        return ((_unit(features) - self.centre) / self.scale).astype(np.float32)

    def save(self, path: Path) -> None:
        """Writes an .npz file."""
        with open(path, "wb") as stream:
            np.savez(stream, centre=self.centre, scale=np.float64(self.scale))

    @classmethod
    def load(cls, path: Path) -> "Scaling":
        """Reads what `save` wrote; a missing or damaged file raises UserError."""
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                return cls(arrays["centre"], float(arrays["scale"]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not readable ({error}); train again") from None


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def cache_folder() -> Path:
    """Where features are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "jaxsdgm" / "features"


def cached(
    encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str], *, key: str
) -> np.ndarray:
    """`encode(texts)` `[n, d]`, from the cache where `key` and the texts are known there.

    `key` names all else that the features depend on: checkpoint, tokenizer, pooling, lengths.
    A file is written whole or not at all, and one that is damaged is made again.
    """
    digest = hashlib.sha256(key.encode())
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    path = cache_folder() / f"{digest.hexdigest()}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        features = encode(texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with open(partial, "wb") as stream:
        np.save(stream, features)
    os.replace(partial, path)
    return features
