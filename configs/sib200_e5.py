"""M1+M2+BOW on frozen features of multilingual-e5-small, on SIB-200 (7 topics, single sentences).

    python -m jaxsdgm.main --config=configs/sib200_e5.py:en,32,bow \
        --config.data.dir=DIR_OF_SIB200 --config.encoder.checkpoint=FOLDER_OF_multilingual-e5-small

The argument is language (en, de, fr, ru, zh, ...), labels, and bow or the twin nxvae_z1.
"""

from ml_collections import ConfigDict

from configs import debian_e5


def get_config(argument: str = "en,32,bow") -> ConfigDict:
    language, n_labels, system = argument.split(",")
    config = debian_e5.frozen(language, int(n_labels), system)
    config.name = f"sib200_e5_{language}_{n_labels}_{system}"
    config.data.source = "sib200"
    return config
