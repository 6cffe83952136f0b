"""M1+M2 or a supervised twin on MLDoc at the paper's size (spec §5, §6, §12).

    python -m jaxsdgm.main --config=configs/mldoc_nxvae.py:en-de,en,32,bow \
        --config.data.dir=DIR --config.pretrained=RUN_OF_europarl_nxvae

The argument is language pair, task language, labels (0: all 1000) and M1+M2's decoder (bow, gru,
none for the layer-wise model), AUX with one (aux-bow, aux-gru), a twin (nxvae_z1, nxvae_h), or the
twin without NXVAE: rand (random embeddings; leave config.pretrained empty) or vectors (embeddings
from --config.vectors=FILE.vec: the paper's FT, MUSE, PEMB, NXEMB). nxvae_z1 from the workdir of
europarl_snxvae.py is the paper's SNXVAE-z1; all others work from there too. The paper's runs took
12 hours (bow) and 14 (gru) on one GTX 1080 Ti; not yet run here.
"""

from ml_collections import ConfigDict

from configs import common

#: tuned by the paper on EN with 32 labels
BETAS = {"none": 0.1, "bow": 0.2, "gru": 10.0, "aux-bow": 20.0, "aux-gru": 5.0}


def get_config(argument: str = "en-de,en,32,bow") -> ConfigDict:
    pair, language, n_labels, system = argument.split(",")
    config = common.classification()
    config.name = f"mldoc_{pair}_{language}_{n_labels}_{system}"
    config.data.languages = tuple(pair.split("-"))
    config.data.language = language
    config.data.n_labels = int(n_labels)
    if system in BETAS:
        common.generative(config, system)
        config.model.beta = BETAS[system]
    elif system in common.EMBEDDINGS:
        common.embeddings_only(config, system, normaliser="europarl")
    else:
        config.model.system = system
    return config
