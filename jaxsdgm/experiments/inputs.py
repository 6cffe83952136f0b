"""What a classification run reads: corpus, labelled subset, vocabularies, pretrained values."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.features import Scaling
from jaxsdgm.data.huggingface import HuggingFaceTokenizer, Tokenizer, load_saved
from jaxsdgm.data.lines import SentenceTokenizer, Vocabulary
from jaxsdgm.data.pools import pick, rotation_dev, rotation_subset
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.subsets import Subset, paper_subset, stratified_subset
from jaxsdgm.data.targets import PAD, TargetWords, choose_targets
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.features import (
    load_tokenizer,
    make_featurizer,
    the_checkpoint,
    token_limit,
)
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.vectors import StartingVectors, check_vectors, load_vectors
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.progress import log
from jaxsdgm.weights.bert import BertSize
from jaxsdgm.weights.huggingface import Checkpoint, load_weights, read_size

#: tokens of a document that the selected targets are taken from, however few the encoder reads
TARGET_LENGTH = 400
OTHER = "out_of_domain"  # the split of another source's test documents
FEATURES = "features.npz"  # of a workdir: the scaling of a frozen encoder's vectors


@dataclass(frozen=True)
class Inputs:
    """A corpus as arrays: everything that a run reads."""

    corpus: Corpus  # without further unlabelled texts, which may be many
    subset: Subset
    tokenizers: dict[str, Tokenizer]
    splits: dict[str, dict[str, np.ndarray]]  # {split: {"ids", "lengths", "labels"}}
    unlabelled: np.ndarray  # rows of the "train" split that are used without their label
    pretrained: dict[str, Any] | None  # variables of the NXVAE, or None
    targets: TargetWords | None  # what the decoder explains; None: every word of `ids`
    checkpoint: Checkpoint | None = None  # of a transformer, frozen or not
    transformer: BertSize | None = None  # the size of one that is fine-tuned
    scaling: Scaling | None = None  # of the "features" that stand for a frozen one
    vectors: StartingVectors | None = None  # that embeddings start from
    target: "Inputs | None" = None  # the second language of a zero-shot run

    @property
    def language(self) -> str:
        return self.corpus.language

    @property
    def of_languages(self) -> dict[str, "Inputs"]:
        """These inputs and those of the second language, by language."""
        both = (self, self.target) if self.target else (self,)
        return {inputs.language: inputs for inputs in both}


def load_inputs(config: Config, corpus: Corpus | None = None) -> Inputs:
    """Reads and checks everything before anything is compiled; `corpus` is given or read."""
    check_vectors(config)
    corpus = corpus or load_corpus(config.data)
    if "dev" not in corpus.splits:
        raise UserError(
            f"{corpus.source}: no development documents; set config.data.pool, and "
            "config.data.subset=rotation"
        )
    subset = draw_subset(config, corpus)
    checkpoint, transformer = the_checkpoint(config), None
    if checkpoint and config.encoder.trainable:
        transformer, pretrained, tokenizer = load_transformer(config, checkpoint)
        tokenizers: dict[str, Any] = {corpus.language: tokenizer}
    else:
        pretrained, tokenizers = load_tokenizers(config, corpus)
    vectors = load_vectors(config, tokenizers[corpus.language])
    limit = token_limit(config, transformer)
    splits = read_splits(config, corpus, tokenizers[corpus.language], limit)
    labelled = {split: corpus.splits[split] for split in splits}
    if config.data.out_of_domain.source:
        splits[OTHER] = read_other(config, corpus, tokenizers[corpus.language], limit)
    targets = add_targets(config, splits)
    tokenizer = tokenizers[corpus.language]
    if isinstance(tokenizer, (HuggingFaceTokenizer, SentenceTokenizer)) and not targets:
        add_pieces(splits, tokenizer.special_ids)
    splits = {split: x if split == OTHER else cut(x, limit) for split, x in splits.items()}
    scaling = None
    if not config.encoder.trainable:
        featurize = make_featurizer(config, checkpoint, pretrained, tokenizers)
        scaling = add_features(config, corpus, splits, featurize)
    inputs = Inputs(
        replace(corpus, splits=labelled),
        subset,
        tokenizers,
        splits,
        others(config, corpus, subset, splits),
        pretrained,
        targets,
        checkpoint,
        transformer,
        scaling,
        vectors,
    )
    return rotated(inputs, config)


def leave_out_few(config: Config, corpus: Corpus | None) -> tuple[Config, Corpus | None]:
    """A config and corpus without further documents of other proportions where these are few.

    They are then what `label_prior=estimated` weighs against the training file's own; measured with
    a sixth as many as these they gave nothing and cost up to a point (benchmarks/frozen_study.md).
    """
    estimated = config.model.label_prior == "estimated" and not config.target.language
    if not estimated or not config.data.unlabelled:
        return config, corpus
    corpus = corpus or load_corpus(config.data)
    further = len(corpus.splits["unlabelled"])
    near = len(corpus.splits["train"]) - len(draw_subset(config, corpus).indices)
    if further >= config.data.further_least * near:
        return config, corpus
    log.warning(
        "%s: %d further documents beside %d of the training file are too few to gain by and are "
        "left out, p(y) is uniform; config.data.further_least=0 keeps them",
        corpus.source,
        further,
        near,
    )
    config = config.copy_and_resolve_references()
    config.data.unlabelled, config.model.label_prior = "", "uniform"
    splits = {name: split for name, split in corpus.splits.items() if name != "unlabelled"}
    return config, replace(corpus, splits=splits)


def redraw(inputs: Inputs, config: Config) -> Inputs:
    """The same corpora with the labelled subsets of another config."""
    subset = draw_subset(config, inputs.corpus)
    unlabelled = others(config, inputs.corpus, subset, inputs.splits)
    target = redraw(inputs.target, config) if inputs.target else None
    return rotated(replace(inputs, subset=subset, unlabelled=unlabelled, target=target), config)


def others(
    config: Config, corpus: Corpus, subset: Subset, splits: Mapping[str, Mapping[str, np.ndarray]]
) -> np.ndarray:
    """Rows of the "train" arrays that are used without their label: of a pool none."""
    rows = np.arange(len(splits["train"]["labels"]))
    if config.data.subset == "rotation":
        return rows[len(corpus.splits["train"]) :]
    return np.setdiff1d(rows, subset.indices)


def rotated(inputs: Inputs, config: Config) -> Inputs:
    """With the part of the pool that is for development in a rotation (`jaxsdgm.data.pools`)."""
    if config.data.subset != "rotation":
        return inputs
    pool = inputs.corpus.splits["train"]
    rows = rotation_dev(len(pool), config.data.subset_seed)
    dev = {name: x[np.array(rows)] for name, x in inputs.splits["train"].items()}
    corpus = replace(inputs.corpus, splits={**inputs.corpus.splits, "dev": pick(pool, rows)})
    return replace(inputs, corpus=corpus, splits={**inputs.splits, "dev": dev})


def read_splits(
    config: Config, corpus: Corpus, tokenizer: Tokenizer, limit: int
) -> dict[str, dict[str, np.ndarray]]:
    """All splits as arrays; further unlabelled documents follow those of "train"."""
    if config.data.targets.min_documents and not isinstance(tokenizer, HuggingFaceTokenizer):
        limit = max(limit, TARGET_LENGTH)
    splits = {}
    for split in ("train", "dev", "test"):
        ids, lengths = tokenizer.encode(corpus.splits[split].texts, limit)
        splits[split] = {"ids": ids, "lengths": lengths, "labels": corpus.splits[split].labels}
    if "unlabelled" in corpus.splits:
        splits["train"] = _append(
            splits["train"], corpus.splits["unlabelled"].texts, tokenizer, limit
        )
    return splits


def read_other(
    config: Config, corpus: Corpus, tokenizer: Tokenizer, limit: int
) -> dict[str, np.ndarray]:
    """The test documents of another source, whose labels stand for those of the same number."""
    data, other = config.data.copy_and_resolve_references(), config.data.out_of_domain
    if not config.encoder.trainable:
        raise UserError(
            "config.data.out_of_domain is for encoders that are trained; set its source to ''"
        )
    data.source, data.dir, data.unlabelled, data.pool = other.source, other.dir, "", 0
    theirs = load_corpus(data)
    if len(theirs.label_names) != len(corpus.label_names):
        raise UserError(
            f"config.data.out_of_domain: {theirs.source} has {len(theirs.label_names)} labels, "
            f"{corpus.source} {len(corpus.label_names)}"
        )
    test = theirs.splits["test"]
    ids, lengths = tokenizer.encode(test.texts, other.max_length or limit)
    return {"ids": ids, "lengths": lengths, "labels": np.asarray(test.labels)}


def load_transformer(
    config: Config, checkpoint: Checkpoint
) -> tuple[BertSize, dict[str, Any], HuggingFaceTokenizer]:
    """Size, weights and tokenizer of the checkpoint that is to be fine-tuned."""
    if config.pretrained:
        raise UserError(
            "config.pretrained and config.encoder.checkpoint both name an encoder; leave one empty"
        )
    tokenizer = load_tokenizer(config, checkpoint)
    size = read_size(checkpoint.folder)
    weights = load_weights(checkpoint.folder, size)
    return size, {"params": {"encoder": {"bert": weights}}}, tokenizer


def add_pieces(splits: dict[str, dict[str, np.ndarray]], special: Collection[int]) -> None:
    """Adds "targets" to all splits: the wordpieces of a document without its special tokens."""
    for arrays in splits.values():
        ids = arrays["ids"]
        valid = np.arange(ids.shape[1]) < arrays["lengths"][:, None]
        arrays["targets"] = np.where(valid & ~np.isin(ids, list(special)), ids, PAD)


def add_features(
    config: Config,
    corpus: Corpus,
    splits: dict[str, dict[str, np.ndarray]],
    featurize: Callable[[Sequence[str]], np.ndarray],
) -> Scaling | None:
    """Adds "features" `[n, d]` to all splits; those of a checkpoint are scaled.

    An NXVAE's are left as they are, since its posterior of z1 is handed on with them.
    """
    features = {split: featurize(corpus.splits[split].texts) for split in splits}
    if "unlabelled" in corpus.splits:
        further = featurize(corpus.splits["unlabelled"].texts)
        features["train"] = np.concatenate([features["train"], further])
    # of all training documents: the labelled ones may be a handful
    scaling = Scaling.of(features["train"]) if config.encoder.checkpoint else None
    for split, x in features.items():
        splits[split]["features"] = scaling(x) if scaling else x
    return scaling


def add_targets(config: Config, splits: dict[str, dict[str, np.ndarray]]) -> TargetWords | None:
    """Chooses the decoder's words from the training documents and adds "targets" to all splits."""
    chosen = config.data.targets
    if not chosen.min_documents:
        return None
    if config.model.tied or config.model.decoder != "bow":
        raise UserError(
            "config.data.targets selects words of an untied bag-of-words decoder; set "
            "config.model.decoder=bow and tied=False, or min_documents=0"
        )
    targets = choose_targets(splits["train"]["ids"], **chosen)
    for arrays in splits.values():
        arrays["targets"] = targets.encode(arrays["ids"])
    return targets


def cut(arrays: dict[str, np.ndarray], limit: int) -> dict[str, np.ndarray]:
    """The same documents, of which the encoder reads `limit` tokens."""
    ids, lengths = arrays["ids"][:, :limit], np.minimum(arrays["lengths"], limit)
    return {**arrays, "ids": ids, "lengths": lengths}


def _append(
    train: dict[str, np.ndarray],
    texts: tuple[str, ...],
    tokenizer: Tokenizer,
    limit: int,
) -> dict[str, np.ndarray]:
    """The training documents, followed by documents without a label (-1)."""
    ids, lengths = tokenizer.encode(texts, limit)
    n = len(train["ids"])
    # filled in place: of a million documents another copy is half a GiB
    together = np.zeros((n + len(ids), max(ids.shape[1], train["ids"].shape[1])), np.int32)
    together[:n, : train["ids"].shape[1]], together[n:, : ids.shape[1]] = train["ids"], ids
    return {
        "ids": together,
        "lengths": np.concatenate([train["lengths"], lengths]),
        "labels": np.concatenate([train["labels"], np.full(len(ids), -1, np.int32)]),
    }


def draw_subset(config: Config, corpus: Corpus) -> Subset:
    """The labelled training documents; 0 labels means all of them, or none of a second language."""
    labels, data = corpus.splits["train"].labels, config.data
    assert labels is not None
    k, n = len(corpus.label_names), data.n_labels
    if corpus.language == config.target.language:
        n = config.target.n_labels
        if not n:
            return Subset((), "none", 0, None)
    if not n and data.subset != "rotation":
        return Subset(tuple(range(len(labels))), "all", len(labels), None)
    if data.subset == "paper":
        return paper_subset(labels, n, corpus.language, k)
    if data.subset == "stratified":
        return stratified_subset(labels, n=n, seed=data.subset_seed, n_classes=k)
    if data.subset == "rotation":
        return rotation_subset(len(labels), n, data.subset_seed)
    raise UserError(
        f"config.data.subset is {data.subset!r}; use one of paper, stratified, rotation"
    )


def load_tokenizers(
    config: Config, corpus: Corpus
) -> tuple[dict[str, Any] | None, dict[str, Tokenizer]]:
    """The NXVAE's variables and vocabularies, or none and a vocabulary of the training texts."""
    language, data = corpus.language, config.data
    if not config.pretrained:
        if config.encoder.kind == "lstm":
            raise UserError(
                "config.encoder.kind is 'lstm', the encoder of a text VAE; name its run in "
                "config.pretrained, or use bilstm"
            )
        if config.encoder.trainable:
            what = "the encoder starts" if config.vectors else "encoder and embeddings start"
            log.warning("no config.pretrained: %s from random values", what)
        elif not config.encoder.checkpoint:
            raise UserError(
                "config.encoder.trainable is False, but there is nothing to keep fixed; name a "
                "checkpoint in config.encoder.checkpoint or an NXVAE in config.pretrained"
            )
        if data.vocabulary not in ("all", "labelled"):
            raise UserError(
                f"config.data.vocabulary is {data.vocabulary!r}; use one of all, labelled"
            )
        texts = [*corpus.splits["train"].texts]
        if "unlabelled" in corpus.splits and data.vocabulary == "all":
            texts += corpus.splits["unlabelled"].texts
        blank = WordTokenizer(language, data.normaliser, (), ())
        size = data.vocab_size.get(language, 50_000)
        tokens = map(blank.tokens, texts)
        return None, {
            language: WordTokenizer.train(
                tokens,
                language=language,
                normaliser=data.normaliser,
                size=size,
                alphabetical=data.normaliser == "whitespace",  # the SSVAE paper's
            )
        }
    variables, about, folder = load_pretrained(config.pretrained)
    if (about["kind"] == "language_model") != (config.encoder.kind == "lstm"):
        raise UserError(
            f"{folder}: an encoder of kind {config.encoder.kind!r} cannot start from a run of kind "
            f"{about['kind']!r}; set config.encoder.kind=lstm for text VAEs, bilstm for all else"
        )
    if about["kind"] == "language_model":
        return variables, {language: sentence_tokenizer(config, corpus, folder, about)}
    digests = about["tokenizers"]
    if about["config"]["data"].get("pairs"):
        raise UserError(
            f"{folder}: its encoder reads sentence pairs, no documents; export its embeddings "
            "(python -m jaxsdgm.export) and name the file in config.vectors"
        )
    if language not in digests:
        known = ", ".join(digests)
        raise UserError(f"{folder}: pretrained on {known}, not on {language!r}; pretrain with it")
    return variables, checked_tokenizers(folder, digests)


def sentence_tokenizer(
    config: Config, corpus: Corpus, folder: Path, about: Mapping[str, Any]
) -> SentenceTokenizer:
    """The words of a text VAE's run for the documents of a corpus, which are normalised first."""
    if not config.encoder.trainable:
        raise UserError(
            "config.encoder.trainable is False, which is for transformers and NXVAEs; "
            "config.frozen=encoder keeps a text VAE's encoder as it is"
        )
    vocabulary = Vocabulary.load(folder / "tokenizer", about["vocabulary"])
    return SentenceTokenizer(corpus.language, config.data.normaliser, vocabulary)


def checked_tokenizers(workdir: Path, digests: Mapping[str, str]) -> dict[str, Tokenizer]:
    """The vocabularies of a workdir, which must be those that its checkpoint was trained with."""
    tokenizers = {lang: load_saved(workdir / "tokenizer", lang) for lang in digests}
    for lang, tokenizer in tokenizers.items():
        if tokenizer.digest != digests[lang]:
            raise UserError(
                f"{workdir / 'tokenizer'}: the {lang!r} vocabulary is not the one that the "
                "checkpoint was trained with; restore it or train again"
            )
    return tokenizers
