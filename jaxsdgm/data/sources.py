"""From the `data` section of a config to a corpus or to pretraining text."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jaxsdgm.data import generated
from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.europarl import PretrainText, prepare
from jaxsdgm.data.files import read_files, read_texts
from jaxsdgm.data.mldoc import read_mldoc, read_split_files
from jaxsdgm.data.pools import make_pool
from jaxsdgm.data.sib200 import read_sib200
from jaxsdgm.data.text_sets import FILES as TEXT_SETS
from jaxsdgm.data.text_sets import read_text_set
from jaxsdgm.errors import UserError

DEBIAN_LABELS = ("DEVEL", "GAMES", "MEDIA", "NET")

_HOW_TO_GET = {
    "mldoc": "get Reuters RCV1 and RCV2 from NIST (free, after signing an agreement) and run "
    "generate_documents.py of github.com/facebookresearch/MLDoc on them",
    "europarl": "get the parallel corpora of Europarl v7 (de-en, fr-en) from statmt.org/europarl "
    "and unpack them",
    "sib200": "get the repository github.com/dadelani/sib-200 (text under CC BY-SA 4.0)",
    "debian": "build the corpus with `python -m jaxsdgm.data.debian --out DIR`",
}


def load_corpus(config_data: Any) -> Corpus:
    """Reads the classification corpus that `config.data` describes.

    Args:
      config_data: object with `source` ("mldoc", "debian", "sib200", "files", "generated",
        "agnews", "dbpedia", "imdb" or "yelp") and `language`; `dir` (all but generated; the last
        four come through TFDS without it); and, where wanted, `pool` and `pool_unlabelled` (see
        `jaxsdgm.data.pools`), `unlabelled` ("rest" for
        Debian's or a file of further text), `label_names`, `train_size` (mldoc), `seed`
        (generated, and splits taken off own files), and `train`, `dev`, `test`, `text`,
        `label` (own files; all their paths are relative to `dir` if that is given).

    Raises:
      UserError: an unknown source, a missing directory (the line says how to get the data)
        or a bad file.
    """
    corpus = _choose(CORPORA, config_data)(config_data)
    extra = getattr(config_data, "unlabelled", "")
    if extra and "unlabelled" not in corpus.splits:
        documents = read_texts(extra, text=_get(config_data, "text", "text"))
        corpus = replace(corpus, splits={**corpus.splits, "unlabelled": documents})
    pool = getattr(config_data, "pool", 0)
    if pool and config_data.source not in TEXT_SETS:  # these draw theirs as the paper did
        others = getattr(config_data, "pool_unlabelled", 0)
        corpus = make_pool(corpus, pool=pool, unlabelled=others)
    return corpus


def load_pretraining(
    config_data: Any, out: str | Path, *, progress: Callable[[int], None] | None = None
) -> dict[str, PretrainText]:
    """Prepares the two corpora of unlabelled sentences that `config.data` describes.

    Args:
      config_data: object with `source` ("europarl", "debian" or "generated"), `languages`
        (two codes), `dir` (all but generated); and, where wanted, `normaliser`, `dev_lines`,
        `seed`, `pairs` (lines stay aligned) and `sentences` (generated).
      out: directory for the prepared text; used again when nothing has changed.
      progress: called now and then with the number of lines read.

    Returns:
      PretrainText by language.
    """
    directory, name = _choose(PRETRAINING, config_data)(config_data, Path(out))
    first, second = config_data.languages
    return prepare(
        directory,
        (first, second),
        out,
        name=name,
        normaliser=_get(config_data, "normaliser", "europarl"),
        dev_lines=_get(config_data, "dev_lines", 13995),
        seed=_get(config_data, "seed", 1234),
        aligned=_get(config_data, "pairs", False),
        progress=progress,
    )


def load_documents(config_data: Any, language: str) -> tuple[str, ...]:
    """Unlabelled documents of a language, to pretrain on: the training texts of its corpus.

    Of Debian's and the generated corpus these are the training file and the further documents.
    """
    fields = {"source": config_data.source, "dir": _get(config_data, "dir", "")}
    if fields["source"] not in ("debian", "generated"):
        raise UserError(
            f"config.data.documents_per_step: {fields['source']!r} has no documents; set it to 0"
        )
    corpus = load_corpus(SimpleNamespace(**fields, language=language, unlabelled="rest"))
    return corpus.splits["train"].texts + corpus.splits["unlabelled"].texts


def _mldoc(data: Any) -> Corpus:
    size, names = _get(data, "train_size", 1000), _get(data, "label_names", None)
    return read_mldoc(_directory(data), data.language, train_size=size, label_names=names)


def _debian(data: Any) -> Corpus:
    names = _get(data, "label_names", DEBIAN_LABELS)
    rest = getattr(data, "unlabelled", "") == "rest"
    corpus = read_split_files(_directory(data) / "cls", data.language, names, rest=rest)
    return replace(corpus, source=f"Debian package descriptions, {corpus.source}")


def _sib200(data: Any) -> Corpus:
    names = _get(data, "label_names", None)
    return read_sib200(_directory(data), data.language, label_names=names)


def _files(data: Any) -> Corpus:
    directory = Path(_get(data, "dir", ""))
    names = {split: getattr(data, split, "") for split in ("train", "dev", "test", "unlabelled")}
    paths = {split: directory / name for split, name in names.items() if name}
    if "train" not in paths:
        raise UserError("config.data.train is empty; name the table of training documents")
    kept_apart = {"dev_fraction": 0.0} if getattr(data, "pool", 0) else {}  # of a pool later
    return read_files(
        **kept_apart,
        train=paths["train"],
        dev=paths.get("dev"),
        test=paths.get("test"),
        unlabelled=paths.get("unlabelled"),
        text=_get(data, "text", "text"),
        label=_get(data, "label", "label"),
        language=data.language,
        label_names=_get(data, "label_names", None),
        seed=_get(data, "seed", 0),
    )


def _text_set(data: Any) -> Corpus:
    pool, others = getattr(data, "pool", 0), getattr(data, "pool_unlabelled", 0)
    directory = _get(data, "dir", "")
    if directory and not Path(directory).is_dir():
        raise UserError(f"{directory}: no such directory (config.data.dir)")
    return read_text_set(data.source, directory, pool=pool, unlabelled=others)


def _generated(data: Any) -> Corpus:
    rest = 2000 if getattr(data, "unlabelled", "") == "rest" else 0
    return generated.generate(data.language, unlabelled=rest, seed=_get(data, "seed", 0))


def _europarl_pairs(data: Any, out: Path) -> tuple[Path, str]:
    return _directory(data), "europarl-v7"


def _debian_pairs(data: Any, out: Path) -> tuple[Path, str]:
    return _directory(data) / "pretrain", "debian"


def _generated_pairs(data: Any, out: Path) -> tuple[Path, str]:
    sentences, seed = _get(data, "sentences", 20_000), _get(data, "seed", 0)
    raw = out / "generated"
    generated.write_pretraining(raw, data.languages, sentences=sentences, seed=seed)
    return raw, "generated"


CORPORA: dict[str, Callable[[Any], Corpus]] = {
    "mldoc": _mldoc,
    "debian": _debian,
    "sib200": _sib200,
    "files": _files,
    "generated": _generated,
    **dict.fromkeys(TEXT_SETS, _text_set),
}
# Each gives the directory of aligned files and the first part of their names.
PRETRAINING: dict[str, Callable[[Any, Path], tuple[Path, str]]] = {
    "europarl": _europarl_pairs,
    "debian": _debian_pairs,
    "generated": _generated_pairs,
}


def _choose(table: dict[str, Callable], data: Any) -> Callable:
    if data.source not in table:
        raise UserError(
            f"config.data.source: unknown source {data.source!r}; choose one of {', '.join(table)}"
        )
    return table[data.source]


def _get(data: Any, field: str, default: Any) -> Any:
    """A field of the config, or the default where it is absent or empty."""
    value = getattr(data, field, None)
    return default if value is None or value in ("", (), []) else value


def _directory(data: Any) -> Path:
    """`config.data.dir`, once it is there; else the line that says how to get the data."""
    directory, remedy = _get(data, "dir", ""), _HOW_TO_GET[data.source]
    if not directory:
        raise UserError(f"config.data.dir is empty; {remedy}, then name the directory there")
    if not Path(directory).is_dir():
        raise UserError(f"{directory}: no such directory (config.data.dir); {remedy}")
    return Path(directory)
