"""Zero-shot M1+M2 or AUX on MLDoc at the paper's size: labels in one language, test in another.

    python -m jaxsdgm.main --config=configs/mldoc_zeroshot.py:en-de,64,bow \
        --config.data.dir=DIR --config.pretrained=RUN_OF_europarl_nxvae

The argument is source and target language, labels of the source, and what mldoc_nxvae.py takes as
decoder or twin (nxvae_z1: the source's labels alone). The source's unlabelled documents are left
out, as in the paper's code (spec §9; its weights src_le, src_ue, trg_le, trg_ue are
model.labelled_weight, model.unlabelled_weight, target.labelled_weight, target.unlabelled_weight).
beta is the paper's of one language; it has no figures of zero-shot runs, and none was made here.
"""

from ml_collections import ConfigDict

from configs import mldoc_nxvae


def get_config(argument: str = "en-de,64,bow") -> ConfigDict:
    pair, n_labels, system = argument.split(",")
    source, target = pair.split("-")
    config = mldoc_nxvae.get_config(f"{pair},{source},{n_labels},{system}")
    config.name = f"mldoc_zeroshot_{pair}_{n_labels}_{system}"
    config.target.language = target
    config.model.unlabelled_weight = 0.0
    return config
