"""VSL on the part-of-speech tags of tweets (Oct27 and Daily547, release 0.3).

    python -m jaxsdgm.main --config=configs/vsl_twitter.py:hier --config.data.dir=DIR \
        [--config.vectors=FILE --config.data.unlabelled=tweets.txt \
        --config.data.unlabelled_count=10000]

The argument is the system, as of vsl_ud.py; "hier,two-stages" trains twice: with alpha 0.1, and
then a new model with alpha 1 whose first priors are those of the first at its best (the paper's
section 6.4; fields are then config.first.data.unlabelled and config.second.data.unlabelled, and
config.corpus.dir). DIR is data/twpos-data-v0.3 of the release; train and dev of Oct27 are for
training, its test for development, Daily547 for test. Unlabelled tweets are tokenised, one a line.
Not yet run on real unlabelled tweets here.
"""

from ml_collections import ConfigDict

from configs import common, vsl_ud


def get_config(argument: str = "hier") -> ConfigDict:
    system, _, stages = argument.partition(",")
    config = common.tagging()
    config.name = f"vsl_twitter_{system}"
    config.data.source = "twitter"
    vsl_ud.choose(config, system)
    config.model.unknown_rate = 0.25
    return two_stages(config) if stages == "two-stages" else config


def two_stages(config: ConfigDict) -> ConfigDict:
    """A run with a small alpha, and one with 1 that starts from its priors."""
    both = ConfigDict({"name": f"{config.name}_two_stages", "experiment": "stages"})
    both.order = ("first", "second")
    both.corpus = ConfigDict({"source": config.data.source, "dir": config.data.dir})
    both.first, both.second = config, config.copy_and_resolve_references()
    both.first.model.unlabelled_weight, both.second.model.unlabelled_weight = 0.1, 1.0
    both.second.priors = "stage:first"
    return both
