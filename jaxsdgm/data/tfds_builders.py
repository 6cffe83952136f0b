"""MLDoc and Debian's descriptions as ordinary data sets of TensorFlow Datasets.

    import tensorflow_datasets as tfds
    import jaxsdgm.data.tfds_builders

    builder = tfds.builder("mldoc/en", file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir="the folder of MLDoc's files")
    )
    builder.as_data_source(split="train")[0]["text"]  # bytes

No TensorFlow is needed. Examples have a text, a label and their line in the file, from 0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.mldoc import LABELS, LANGUAGES, read_mldoc, read_split_files
from jaxsdgm.data.sources import DEBIAN_LABELS

_SOURCE = "RCV1 and RCV2 of NIST, divided by generate_documents.py of facebookresearch/MLDoc"


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Documents of a corpus of this library; a config is a language."""

    VERSION = tfds.core.Version("1.0.0")
    LABELS: tuple[str, ...]
    ABOUT: str

    def corpus(self, manual: Path, language: str) -> Corpus:
        """What is in the manual folder."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=self.LABELS),
            "line": tfds.features.Scalar(np.int64),
        }
        return self.dataset_info_from_configs(
            description=self.ABOUT,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("text", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        config: Any = self.builder_config
        splits = self.corpus(Path(dl_manager.manual_dir), config.name).splits
        return {split: self._generate_examples(documents) for split, documents in splits.items()}

    def _generate_examples(self, documents: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        labels = documents.labels
        for line, text in enumerate(documents.texts):
            # ClassLabel's name for a label that is not known is -1
            label = -1 if labels is None else int(labels[line])
            yield line, {"text": text, "label": label, "line": line}


class Mldoc(_Builder):
    """`train` is train.1000; the languages are those of MLDoc."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=code) for code in LANGUAGES]
    LABELS = tuple(LABELS)
    ABOUT = "Reuters news of four topics in eight languages (Schwenk and Li 2018)."
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"manual_dir has english.train.1000, english.dev, english.test and so on: {_SOURCE}"
    )

    def corpus(self, manual: Path, language: str) -> Corpus:
        return read_mldoc(manual, language)


class DebianDescriptions(_Builder):
    """`train`, `dev`, `test` and, without labels, `unlabelled`."""

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=code) for code in ("en", "de", "fr", "ru", "zh")
    ]
    LABELS = DEBIAN_LABELS
    ABOUT = "Descriptions of Debian's packages of four topics, with their translations."
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is what `python -m jaxsdgm.data.debian --out DIR` makes"
    )

    def corpus(self, manual: Path, language: str) -> Corpus:
        return read_split_files(manual / "cls", language, self.LABELS, rest=True)
