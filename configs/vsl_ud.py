"""VSL on a Universal Dependencies treebank: a fifth of its sentences with tags, half without.

    python -m jaxsdgm.main --config=configs/vsl_ud.py:german,hier --config.trials=5 \
        [--config.data.dir=DIR] [--config.vectors=wiki.de.vec]

The argument is the language (german, french, croatian, indonesian, spanish, russian) and the
system: bigru, g, flat, hier or hier-z (the tag read off z); -sup leaves the unlabelled sentences
out and -novr the variational part too (hier-sup, hier-novr). DIR has the treebank's three .conllu
files; without it they come through TFDS. With vectors the words are those that these have; without,
the embeddings are random and trained, and a quarter of the rare words are read as unknown.

Sizes, weights and rates around the tag are not the paper's but those that do best on treebanks of a
thousand sentences without vectors (README, "Tags of words"); configs/common.py has the paper's.
"""

from ml_collections import ConfigDict

from configs import common

LANGUAGES = {
    "german": "de",
    "french": "fr",
    "croatian": "hr",
    "indonesian": "id",
    "spanish": "es",
    "russian": "ru",
}


def get_config(argument: str = "german,hier") -> ConfigDict:
    language, system = argument.split(",")
    config = common.tagging()
    config.name = f"vsl_ud_{language}_{system}"
    config.data.language = LANGUAGES[language]
    config.data.labelled_share, config.data.unlabelled_share = 0.2, 0.5
    choose(config, system)
    config.model.unknown_rate = 0.25
    # The tag's latent is as wide as the states, whose map onto it and the classifier move slowly:
    # else the two learn the tagged words by heart before the states have learned what they share.
    config.model.tag_latent, config.model.orthogonal = 2 * config.model.hidden, True
    config.classifier_rate, config.tag_rate = 0.3, 0.03
    # At the paper's 1 the words' loss drowns the tags.
    config.model.labelled_weight = config.model.unlabelled_weight = 0.03
    config.model.kl_rate = 1e-3
    return config


def choose(config: ConfigDict, system: str) -> None:
    """The system that an argument names, in place."""
    name, _, kind = system.partition("-")
    systems = {"bigru": "bigru", "g": "vsl-g", "flat": "vsl-gg-flat", "hier": "vsl-gg-hier"}
    config.model.system = systems[name]
    if kind == "z":
        config.model.classify = "z"
    elif kind:
        config.data.unlabelled_share = 0.0
        config.model.variational = {"sup": True, "novr": False}[kind]
