"""What a tagger trains on: vocabularies, arrays of sentences, and which have tags in a trial."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.data.tagged import Sentences, TaggedCorpus, load_tagged
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.layers.token_encoder import MOST_TOKENS
from jaxsdgm.models.vsl import LATENTS
from jaxsdgm.training.progress import log
from jaxsdgm.weights.word_vectors import WordVectors, name_of, read_vectors

# the names of the vocabularies; READ is those words that a trained encoder reads
WORDS, CHARACTERS, READ = "words", "characters", "read"
SCHEMES = ("train", "transductive")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Vocabularies:
    """Words and characters with their ids, and the tags in order."""

    words: WordTokenizer
    characters: WordTokenizer
    tags: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Into a folder; the tags are kept with the checkpoints."""
        self.words.save(folder)
        self.characters.save(folder)

    @classmethod
    def load(cls, folder: Path, tags: Sequence[str]) -> "Vocabularies":
        words, characters = (WordTokenizer.load(folder, name) for name in (WORDS, CHARACTERS))
        return cls(words, characters, tuple(tags))

    def encode(
        self, words: Sequence[Sequence[str]], *, most: int, read: WordTokenizer | None = None
    ) -> Arrays:
        """`ids [n, t]` and `characters [n, t, c]` of sentences, 0 at padding.

        A word in another case is looked up in lower case too, if it is not there as it stands; with
        `read` only those words are there. Of a word the first `most` characters are read.
        """
        known = set(_words(read or self.words))
        forms = lambda word: word if word in known else word.lower()
        looked_up = [[*map(forms, of_one)] for of_one in words]
        if read:  # the word of no characters is in no vocabulary
            looked_up = [[w if w in known else "" for w in of_one] for of_one in looked_up]
        ids, lengths = self.words.encode_tokens(looked_up, max(map(len, words)))
        flat, _ = self.characters.encode_tokens((w for of_one in words for w in of_one), most)
        characters = np.zeros((*ids.shape, flat.shape[1]), np.int16)
        characters[np.arange(ids.shape[1]) < lengths[:, None]] = flat
        return {"ids": ids, "characters": characters}

    def labels(self, sentences: Sentences, width: int) -> np.ndarray:
        """Tags' numbers `[n, width]`, 0 at padding."""
        numbers = {tag: i for i, tag in enumerate(self.tags)}
        found = np.zeros((len(sentences), width), np.int32)
        for row, tags in zip(found, sentences.tags or (), strict=True):
            row[: len(tags)] = [numbers[tag] for tag in tags]
        return found


def _words(tokenizer: WordTokenizer) -> Sequence[str]:
    return tokenizer.words[tokenizer.first_word :]


def tags_of(numbers: np.ndarray, arrays: Arrays, names: Sequence[str]) -> list[list[str]]:
    """Predicted numbers `[n, t]` as the tags of each sentence."""
    lengths = (arrays["ids"] > 0).sum(1)
    rows: Any = zip(numbers.tolist(), lengths.tolist(), strict=True)
    return [[names[int(i)] for i in row[:n]] for row, n in rows]


@dataclass(frozen=True)
class TagInputs:
    """What all trials share. Training sentences come first in `train`, further raw ones after."""

    corpus: TaggedCorpus
    vocabularies: Vocabularies
    train: Arrays  # [n, t]: ids, labels, spelling; [n]: start; spellings [words, c]
    vectors: WordVectors | None
    vectors_name: str
    warnings: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        """Sentences and tokens of training text."""
        return len(self.train["ids"]), int((self.train["ids"] > 0).sum())


@dataclass(frozen=True)
class TagTrial:
    """One trial's draw: which training sentences have labels, and which are there without.

    Its encoder reads the words of `read` in all other text: those of its tagged sentences, since
    the classifier has learned nothing of other words' embeddings, or all that have vectors. `rare
    [n, t]` marks words that its tagged sentences have once or never; `held_out` are the arrays of
    dev and test.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    rare: np.ndarray
    read: WordTokenizer
    held_out: Mapping[str, Arrays]
    subset: Mapping[str, Any]


def load_inputs(config: Config) -> TagInputs:
    """Corpus, vocabularies and training arrays of a config.

    Raises:
      UserError: files, vectors or values that do not do.
    """
    data = config.data
    if data.vocabulary not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise UserError(f"config.data.vocabulary is {data.vocabulary!r}; use one of {known}")
    corpus = load_tagged(data)
    names = corpus.tag_names
    trained = {tag for of_one in corpus.splits["train"].tags or () for tag in of_one}
    if unseen := [tag for tag in names if tag not in trained]:
        raise UserError(
            f"dev or test has the tag {unseen[0]!r}, of which train has none; correct it, or add "
            "sentences with it to train"
        )
    words = _texts(corpus)
    if data.vocabulary == "transductive":
        words = [*words, *corpus.splits["dev"].words, *corpus.splits["test"].words]
    vectors = _vectors(config, words)
    known = vectors and set(vectors.words)
    kept = [_known(of_one, known) for of_one in words]
    vocabularies = Vocabularies(
        _vocabulary(kept, WORDS, size=data.vocab_size),
        _vocabulary((w for of_one in _texts(corpus) for w in of_one), CHARACTERS, data.characters),
        names,
    )
    train, warnings = _training_arrays(config, corpus, vocabularies)
    return TagInputs(
        corpus,
        vocabularies,
        train,
        vectors,
        name_of(config.vectors) if config.vectors else "",
        warnings,
    )


def _texts(corpus: TaggedCorpus) -> list[tuple[str, ...]]:
    """Words of all training sentences, the further ones last."""
    further = corpus.splits.get("unlabelled")
    return [*corpus.splits["train"].words, *(further.words if further else ())]


def _vocabulary(tokens: Iterable[Sequence[str]], name: str, size: int) -> WordTokenizer:
    return WordTokenizer.train(tokens, language=name, normaliser="whitespace", size=size)


def _vectors(config: Config, words: Iterable[Sequence[str]]) -> WordVectors | None:
    """Vectors of the words, or of these in lower case; None where no file is named."""
    if not config.vectors:
        return None
    wanted = {form for of_one in words for word in of_one for form in (word, word.lower())}
    return read_vectors(config.vectors, wanted=wanted, width=config.model.embedding)


def _known(words: Sequence[str], known: set[str] | None) -> list[str]:
    """The words that there are vectors of, as they stand or in lower case."""
    return [word for word in words if known is None or word in known or word.lower() in known]


def _training_arrays(
    config: Config, corpus: TaggedCorpus, vocabularies: Vocabularies
) -> tuple[Arrays, tuple[str, ...]]:
    train, texts, limit = corpus.splits["train"], _texts(corpus), config.data.max_length
    warnings = []
    if limit and (longer := sum(len(of_one) > limit for of_one in texts)):
        warnings.append(f"{longer} training sentences are cut at {limit} tokens.")
        log.info("%s", warnings[0])
        texts = [of_one[:limit] for of_one in texts]
    arrays = vocabularies.encode(texts, most=config.data.max_characters)
    if arrays["ids"].shape[1] >= MOST_TOKENS:
        raise UserError(
            f"a training sentence has {arrays['ids'].shape[1]} tokens; set config.data.max_length "
            f"below {MOST_TOKENS}"
        )
    lengths, width = (arrays["ids"] > 0).sum(1), arrays["ids"].shape[1]
    arrays["labels"] = np.zeros((len(texts), width), np.int32)
    if tags := train.tags:
        cut = tuple(of_one[: limit or len(of_one)] for of_one in tags)
        known = Sentences(tuple(texts[: len(train)]), cut)
        arrays["labels"][: len(train)] = vocabularies.labels(known, width)
    arrays["start"] = (np.cumsum(lengths) - lengths).astype(np.int32)
    real = arrays["ids"] > 0
    found, spelling = np.unique(arrays.pop("characters")[real], axis=0, return_inverse=True)
    arrays["spellings"], arrays["spelling"] = found, np.zeros(real.shape, np.int32)
    arrays["spelling"][real] = spelling.reshape(-1)
    return arrays, tuple(warnings)


# -- trials --------------------------------------------------------------------------------------


def draw(inputs: TagInputs, config: Config) -> TagTrial:
    """The labelled and unlabelled sentences of a trial: a share each of a seeded permutation.

    Both are rounded (spec §2.2). All further sentences are unlabelled too.
    """
    data, n = config.data, len(inputs.corpus.splits["train"])
    shares = data.labelled_share, data.unlabelled_share
    if not (0 < shares[0] <= 1 and 0 <= shares[1] <= 1 and sum(shares) <= 1 + 1e-9):
        raise UserError(
            f"config.data.labelled_share is {shares[0]:g} and unlabelled_share {shares[1]:g}; "
            "these are shares of the training sentences, at most 1 together"
        )
    first, second = (round(share * n) for share in shares)
    if not first:
        raise UserError(
            f"config.data.labelled_share {shares[0]:g} of {n} sentences is none; raise it"
        )
    order = np.random.default_rng(data.subset_seed).permutation(n)
    further = np.arange(n, len(inputs.train["ids"]))
    unlabelled = np.concatenate([order[first : first + second], further])
    if not uses_unlabelled(config):
        unlabelled = unlabelled[:0]
    labelled = order[:first]
    size = inputs.vocabularies.words.vocab_size
    counts = np.bincount(inputs.train["ids"][labelled].ravel(), minlength=size)
    tokenizer = inputs.vocabularies.words
    there = counts > 0 if not inputs.vectors else np.ones_like(counts, bool)
    words = [*compress(_words(tokenizer), there[tokenizer.first_word :])]
    read = _vocabulary([words], READ, size=len(words))
    texts = {split: inputs.corpus.splits[split].words for split in ("dev", "test")}
    encode = partial(inputs.vocabularies.encode, most=data.max_characters, read=read)
    held_out = {split: encode(of_split) for split, of_split in texts.items()}
    rule = "all" if first == n else "share"
    subset = {"n": first, "rule": rule, "seed": data.subset_seed, "unlabelled": len(unlabelled)}
    rare = counts[inputs.train["ids"]] <= 1
    return TagTrial(labelled, unlabelled, rare, read, held_out, subset)


def uses_unlabelled(config: Config) -> bool:
    """Whether a run has sentences without tags, and a system that learns from them."""
    data, model = config.data, config.model
    learns = bool(LATENTS.get(model.system)) and model.variational
    return learns and bool(data.unlabelled or data.unlabelled_share)


def start_from(variables: Any, inputs: TagInputs) -> Any:
    """The variables with the words' vectors of the file; unknown words are U(-0.1, 0.1)."""
    if not inputs.vectors:
        return variables
    tokenizer = inputs.vocabularies.words
    rows = {word: i for i, word in enumerate(inputs.vectors.words)}
    table = np.array(variables["params"]["encoder"]["table"])
    table[tokenizer.unk_id] = np.random.default_rng(0).uniform(-0.1, 0.1, table.shape[1])
    for i, word in enumerate(tokenizer.words[tokenizer.first_word :], tokenizer.first_word):
        table[i] = inputs.vectors.vectors[rows[word] if word in rows else rows[word.lower()]]
    encoder = {**variables["params"]["encoder"], "table": table}
    return {**variables, "params": {**variables["params"], "encoder": encoder}}
