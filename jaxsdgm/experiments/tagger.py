"""A finished tagging run in use: words of sentences in, their tags out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from jaxsdgm.data.tagged import without_digits
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.tag import build_model, make_predict
from jaxsdgm.experiments.tag_inputs import CHARACTERS, READ, WORDS, Vocabularies, tags_of
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel

Words = Sequence[Sequence[str]]


def load_tagger(workdir: Path) -> Callable[[Words], list[list[str]]]:
    """A run's best parameters as a function from sentences to the tags of their words."""
    variables, about, folder = load_pretrained(workdir)
    if about.get("kind") != "tag":
        raise UserError(f"{folder}: not a tagging run but {about.get('kind')!r}")
    config: Config = ConfigDict(about["config"])
    vocabularies = Vocabularies.load(folder / "tokenizer", about["tags"])
    read = WordTokenizer.load(folder / "tokenizer", READ)
    words, characters = vocabularies.words, vocabularies.characters
    for name, tokenizer in ((WORDS, words), (CHARACTERS, characters), (READ, read)):
        if tokenizer.digest != about["tokenizers"][name]:
            raise UserError(
                f"{folder / 'tokenizer'}: the vocabulary of {name} is not that of the checkpoint; "
                "copy the whole workdir again"
            )
    sizes = words.vocab_size, characters.vocab_size
    predict = make_predict(build_model(config, sizes, len(vocabularies.tags)), Parallel())
    seen = config.data.digits_to_zero

    def tag(words: Words) -> list[list[str]]:
        words = [[*map(without_digits, of_one)] for of_one in words] if seen else words
        arrays = vocabularies.encode(words, most=config.data.max_characters, read=read)
        found = predict(variables["params"], variables["batch_stats"], arrays)
        return tags_of(found["tag"], arrays, vocabularies.tags)

    return tag
