"""PEMB's word embeddings from Debian's translated descriptions, at a size for two cores.

    python -m jaxsdgm.main --config=configs/debian_pemb.py:de-en --config.data.dir=data/debian \
        --workdir=RUN
    python -m jaxsdgm.export --workdir=RUN --language=en --out=pemb.en.vec

As europarl_pemb.py, with debian_nxvae.py's sizes. The embeddings are for
debian_classify.py:en,32,vectors as --config.vectors=pemb.en.vec.
"""

from ml_collections import ConfigDict

from configs import debian_nxvae


def get_config(pair: str = "de-en") -> ConfigDict:
    config = debian_nxvae.get_config(pair)
    config.name = f"debian_pemb_{pair}"
    config.data.pairs = True
    config.data.documents_per_step = 0
    return config
