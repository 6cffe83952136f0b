"""M1+M2+BOW on your own table of texts, without a pretrained encoder.

    python -m jaxsdgm.main --config=configs/own_files.py --config.data.train=labelled.tsv \
        --config.data.language=en --workdir=runs/mine

With `--config.pretrained` of a `debian_nxvae.py` run the encoder starts from that. The argument is
a system: bow, gru, nxvae_z1.
"""

from ml_collections import ConfigDict

from configs import debian_classify


def get_config(system: str = "bow") -> ConfigDict:
    config = debian_classify.get_config(f"en,32,{system}")
    config.name = f"own_files_{system}"
    config.data.source = "files"
    config.data.normaliser = "words"
    return config
