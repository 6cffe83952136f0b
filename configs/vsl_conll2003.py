"""VSL on CoNLL-2003's English entities: a tenth of the sentences with tags, half without.

    python -m jaxsdgm.main --config=configs/vsl_conll2003.py:hier --config.trials=5 \
        [--config.data.dir=DIR] [--config.vectors=glove.6B.100d.txt --config.frozen=embeddings]

The argument is the system, as of vsl_ud.py. DIR has eng.train, eng.testa and eng.testb (or
train.txt, valid.txt and test.txt), in IOB1 or IOB2: spans become BIOES, digits 0. Without DIR the
set comes through TFDS. Not yet run on the set itself here: its text is not free.
"""

from ml_collections import ConfigDict

from configs import common, vsl_ud


def get_config(argument: str = "hier") -> ConfigDict:
    config = common.tagging()
    config.name = f"vsl_conll2003_{argument}"
    config.data.source = "conll2003"
    config.data.entities = config.data.digits_to_zero = True
    config.data.labelled_share, config.data.unlabelled_share = 0.1, 0.5
    vsl_ud.choose(config, argument)
    config.model.unknown_rate = 0.25
    return config
