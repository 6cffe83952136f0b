"""The paper's tuning on MLDoc (spec §12): beta by dev with 32 labels, then fixed.

    python -m jaxsdgm.main --config=configs/mldoc_tuning.py:en-de,bow --workdir=DIR \
        --config.corpus.dir=DIR_OF_MLDOC --config.pretrained=RUN_OF_europarl_nxvae

The argument is language pair and decoder (bow, gru, none). The paper's values of beta train side
by side in the pair's first language (its own choice was made on English of en-de alone), then 32,
64 and 128 labels in both languages with the best of them. Not yet run at this size.
"""

from ml_collections import ConfigDict

from configs import mldoc_nxvae


def get_config(argument: str = "en-de,bow") -> ConfigDict:
    pair, decoder = argument.split(",")
    config = ConfigDict()
    config.name = f"mldoc_tuning_{pair}_{decoder}"
    config.experiment = "stages"
    config.corpus = ConfigDict({"source": "mldoc", "dir": ""})
    config.pretrained = ""
    config.tuning = mldoc_nxvae.get_config(f"{pair},{pair[:2]},32,{decoder}")
    config.tuning.name = "tuning"
    config.tuning.sweep.beta = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    order = ["tuning"]
    for language in pair.split("-"):
        for n in (32, 64, 128):
            stage = f"{language}_{n}"
            config[stage] = mldoc_nxvae.get_config(f"{pair},{language},{n},{decoder}")
            config[stage].tuned = "stage:tuning"
            order.append(stage)
    for stage in order:
        config[stage].pretrained = config.get_ref("pretrained")
    config.order = tuple(order)
    return config
