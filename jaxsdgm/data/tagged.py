"""Sentences whose words have tags: CoNLL-U, columns, raw tokens, the corpora of the VSL paper."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsdgm.data.documents import find, read_lines
from jaxsdgm.data.text_sets import tfds_rows
from jaxsdgm.errors import UserError

SPLITS: tuple[str, ...] = ("train", "dev", "test")
OUTSIDE = "O"


@dataclass(frozen=True)
class Sentences:
    """Words of sentences as they stand in the file, and a tag for each or none at all."""

    words: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.words))


@dataclass(frozen=True)
class TaggedCorpus:
    """Sentences of `train`, `dev` and `test`, all tagged, and perhaps `unlabelled` ones.

    `entities` says that the tags are BIOES spans.
    """

    source: str
    splits: Mapping[str, Sentences]
    entities: bool = False

    @property
    def tag_names(self) -> tuple[str, ...]:
        """All tags, sorted."""
        tagged = (self.splits[split].tags or () for split in SPLITS)
        return tuple(sorted({tag for tags in tagged for of_one in tags for tag in of_one}))


# -- files ---------------------------------------------------------------------------------------


def read_conllu(path: str | Path) -> Sentences:
    """Forms and UPOS tags of a CoNLL-U file (plain, .xz or .gz), sentences in its order.

    Comments, multiword ranges (`8-9`) and empty nodes (`8.1`) are passed over. Of a file whose tags
    are all `_` there are none.

    Raises:
      UserError: a line that has not ten columns, no id or no form; a tag that is missing.
    """
    path = find(path)

    def token(place: str, line: str) -> tuple[str, str] | None:
        fields = line.split("\t")
        if len(fields) != 10:
            raise UserError(
                f"{place}: {len(fields)} columns instead of CoNLL-U's 10; columns are parted by "
                "tabs: correct or remove the line"
            )
        if not fields[0].isdigit():
            if any(fields[0].replace(sign, "", 1).isdigit() for sign in "-."):
                return None
            raise UserError(f"{place}: {fields[0]!r} is no token id; correct the line")
        if not fields[1]:
            raise UserError(f"{place}: a token without a form; correct or remove the line")
        return fields[1], fields[3]

    lines = ((place, line) for place, line in _placed(path) if not line.startswith("#"))
    return _sentences(path, lines, token)


def read_columns(path: str | Path, *, word: int = 0, tag: int = -1) -> Sentences:
    """A token a line, its columns parted by white space, and an empty line between sentences.

    `-DOCSTART-` lines are passed over.

    Raises:
      UserError: a line with another number of columns than the first one has, or with only one.
    """
    path, width = find(path), 0

    def token(place: str, line: str) -> tuple[str, str] | None:
        nonlocal width
        fields = line.split()
        if fields[0] == "-DOCSTART-":
            return None
        width = width or len(fields)
        if len(fields) != width or width < 2:
            wanted = f"the {width} of the lines before" if width > 1 else "a word and a tag"
            raise UserError(
                f"{place}: {len(fields)} columns instead of {wanted}; correct or remove the line"
            )
        return fields[word], fields[tag]

    return _sentences(path, _placed(path), token)


def read_tokens(path: str | Path, *, most: int = 0) -> Sentences:
    """Raw sentences, one a line, words parted by white space; at most so many of them (0: all).

    Raises:
      UserError: an empty line, or no sentence at all.
    """
    path, found = find(path), []
    for place, line in _placed(path):
        if most and len(found) == most:
            break
        if not line.strip():
            raise UserError(f"{place}: a sentence without a token; remove the line")
        found.append(tuple(line.split()))
    if not found:
        raise UserError(f"{path}: no sentence; it is empty")
    return Sentences(tuple(found))


def read_tagged(path: str | Path) -> Sentences:
    """CoNLL-U where the name says so (.conllu), else columns."""
    name = Path(path).name.removesuffix(".gz").removesuffix(".xz")
    return read_conllu(path) if name.endswith(".conllu") else read_columns(path)


def _placed(path: Path) -> Iterator[tuple[str, str]]:
    return ((f"{path}:{number}", line) for number, line in enumerate(read_lines(path), 1))


def _sentences(
    path: Path,
    lines: Iterable[tuple[str, str]],
    token: Callable[[str, str], tuple[str, str] | None],
) -> Sentences:
    """Blocks of lines as sentences; the last one may lack the empty line after it."""
    found: list[list[tuple[str, str]]] = [[]]
    place = str(path)
    for place, line in lines:
        if not line.strip():
            if found[-1]:
                found.append([])
        elif pair := token(place, line):
            found[-1].append(pair)
    found = [sentence for sentence in found if sentence]
    if not found:
        raise UserError(f"{path}: no sentence with a token; check the file")
    words = tuple(tuple(word for word, _ in sentence) for sentence in found)
    tags = tuple(tuple(tag for _, tag in sentence) for sentence in found)
    missing = [i for i, of_one in enumerate(tags, 1) if "_" in of_one]
    if missing and all(tag == "_" for of_one in tags for tag in of_one):
        return Sentences(words)
    if missing:
        raise UserError(f"{path}: sentence {missing[0]} has a token without a tag; add it")
    return Sentences(words, tags)


# -- spans ---------------------------------------------------------------------------------------


def to_bioes(tags: Sequence[str]) -> tuple[str, ...]:
    """IOB1, IOB2 or BIOES tags of a sentence as BIOES.

    A span begins at B or S, at another type, and after O or the end (E, S) of a span.
    """
    if any(tag[:2] in ("E-", "S-") for tag in tags):
        return tuple(tags)
    found = []
    for i, tag in enumerate(tags):
        if tag == OUTSIDE:
            found.append(tag)
            continue
        prefix, _, kind = tag.partition("-")
        before = tags[i - 1] if i else OUTSIDE
        after = tags[i + 1] if i + 1 < len(tags) else OUTSIDE
        begins = prefix == "B" or before[2:] != kind
        ends = after[:2] == "B-" or after[2:] != kind
        found.append({(1, 1): "S-", (1, 0): "B-", (0, 1): "E-", (0, 0): "I-"}[begins, ends] + kind)
    return tuple(found)


def check_spans(path: str, sentences: Sentences) -> None:
    """Raises UserError for a tag that is neither O nor a prefix of B, I, O, E, S and a type."""
    for i, tags in enumerate(sentences.tags or (), 1):
        for tag in tags:
            if tag != OUTSIDE and not (tag[:2] in ("B-", "I-", "E-", "S-") and len(tag) > 2):
                raise UserError(
                    f"{path}: sentence {i} has the tag {tag!r}, which is no span's; expected O or "
                    "B-, I-, E-, S- and a type"
                )


def without_digits(word: str) -> str:
    """The word with 0 for every digit."""
    return "".join("0" if sign.isdigit() else sign for sign in word)


# -- corpora -------------------------------------------------------------------------------------

#: files of each corpus below its folder, by split; the first that is there
FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "ud": {split: (f"*{split}.conllu",) for split in SPLITS},
    "twitter": {
        "train": ("oct27.splits/oct27.traindev", "oct27.traindev"),
        "dev": ("oct27.splits/oct27.test", "oct27.test"),
        "test": ("daily547.conll",),
    },
    "conll2003": {
        "train": ("eng.train", "train.txt"),
        "dev": ("eng.testa", "valid.txt", "dev.txt"),
        "test": ("eng.testb", "test.txt"),
    },
}
#: field of the tags in TFDS
TFDS_TAGS = {"ud": "upos", "conll2003": "ner"}
#: in the paper's order: the treebank of each language
TREEBANKS = {
    "fr": "fr_gsd",
    "de": "de_gsd",
    "id": "id_gsd",
    "es": "es_gsd",
    "ru": "ru_gsd",
    "hr": "hr_set",
}


def load_tagged(data: Any) -> TaggedCorpus:
    """The corpus that a config's `data` describes: one of FILES, or `files` of the user's own."""
    splits: dict[str, Sentences]
    if data.source == "files":
        paths = {split: data[split] for split in SPLITS}
        if missing := [split for split, path in paths.items() if not path]:
            raise UserError(f"config.data.{missing[0]} is empty; name the file of that split")
        splits = {split: read_tagged(path) for split, path in paths.items()}
    elif data.source not in FILES:
        known = ", ".join((*FILES, "files"))
        raise UserError(f"config.data.source is {data.source!r}; to tag words use one of {known}")
    elif data.dir:
        paths = {
            split: _the_file(Path(data.dir), names) for split, names in FILES[data.source].items()
        }
        splits = {split: read_tagged(path) for split, path in paths.items()}
    else:
        paths = dict.fromkeys(SPLITS, f"TFDS {data.source}")
        splits = {split: _from_tfds(data, split) for split in SPLITS}
    for split, sentences in splits.items():
        if sentences.tags is None:
            raise UserError(f"{paths[split]}: no tags; {split} needs tagged sentences")
    if data.entities:
        for split, sentences in splits.items():
            check_spans(str(paths[split]), sentences)
            tags = tuple(map(to_bioes, sentences.tags or ()))
            splits[split] = Sentences(sentences.words, tags)
    if data.unlabelled:
        splits["unlabelled"] = read_tokens(data.unlabelled, most=data.unlabelled_count)
    if data.digits_to_zero:
        for split, sentences in splits.items():
            words = tuple(tuple(map(without_digits, of_one)) for of_one in sentences.words)
            splits[split] = Sentences(words, sentences.tags)
    return TaggedCorpus(data.source, splits, bool(data.entities))


def _the_file(folder: Path, names: Sequence[str]) -> Path:
    """The one file below a folder whose name fits the first of `names` that any fits."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; name the corpus's in config.data.dir")
    for name in names:
        found = sorted(folder.glob(name)) or sorted(folder.glob(f"{name}.[gx]z"))
        if len(found) > 1:
            there = ", ".join(path.name for path in found)
            raise UserError(f"{folder}: {there} all look like {name}; leave one of them there")
        if found:
            return found[0]
    raise UserError(f"{folder}: no file {' or '.join(names)}; name the folder that has it")


def _from_tfds(data: Any, split: str) -> Sentences:
    """A split through TFDS, which reads array_record files without TensorFlow."""
    if data.source not in TFDS_TAGS:
        raise UserError(
            f"config.data.dir is empty and TFDS has no {data.source!r}; get the files of its "
            "release and name their folder there"
        )
    name, field = "conll2003", TFDS_TAGS[data.source]
    if data.source == "ud":
        if data.language not in TREEBANKS:
            known = ", ".join(TREEBANKS)
            raise UserError(f"config.data.language is {data.language!r}; use one of {known}")
        name = f"universal_dependencies/{TREEBANKS[data.language]}"
    rows, features = tfds_rows(name, split)
    names = features[field].feature
    words, tags = [], []
    for row in rows:
        named = [names.int2str(int(tag)) for tag in row[field]]
        pairs = zip(row["tokens"], named, strict=True)
        kept = [(word.decode("utf-8"), tag) for word, tag in pairs if tag != "_"]  # "_": a range
        words.append(tuple(word for word, _ in kept))
        tags.append(tuple(tag for _, tag in kept))
    return Sentences(tuple(words), tuple(tags))
