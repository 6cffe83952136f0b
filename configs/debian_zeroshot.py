"""Zero-shot M1+M2+BOW on Debian's package descriptions: labels in one language, test in another.

    python -m jaxsdgm.main --config=configs/debian_zeroshot.py:en-de,64,bow \
        --config.data.dir=data/debian --config.pretrained=RUN_OF_debian_nxvae

The argument is source and target language, labels of the source, and what debian_classify.py takes
as decoder or twin (nxvae_z1: the source's labels alone).
"""

from ml_collections import ConfigDict

from configs import debian_classify


def get_config(argument: str = "en-de,64,bow") -> ConfigDict:
    pair, n_labels, system = argument.split(",")
    source, target = pair.split("-")
    config = debian_classify.get_config(f"{source},{n_labels},{system}")
    config.name = f"debian_zeroshot_{pair}_{n_labels}_{system}"
    config.target.language = target
    config.model.unlabelled_weight = 0.0
    return config
