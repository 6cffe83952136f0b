"""M1+M2+BOW on your own table of texts, on frozen features of a multilingual checkpoint.

    python -m jaxsdgm.main --config=configs/own_files_e5.py:en --config.data.train=labelled.tsv \
        --config.data.unlabelled=more.txt --workdir=runs/mine

The mode for a laptop: documents are encoded once (a minute or two per thousand on 2 cores), then
training takes about a minute. The argument is the language and, where wanted, a system: bow,
nxvae_z1, features_lr, tfidf_lr, nb_em.
"""

from ml_collections import ConfigDict

from configs import debian_e5


def get_config(argument: str = "en,bow") -> ConfigDict:
    language, system = [*argument.split(","), "bow"][:2]
    config = debian_e5.frozen(language, 0, system)
    config.name = f"own_files_e5_{language}_{system}"
    config.data.source = "files"
    # further text of one's own rarely has the labels' proportions
    config.model.label_prior = "estimated"
    return config
