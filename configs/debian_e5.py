"""M1+M2+BOW on frozen features of multilingual-e5-small, on Debian's package descriptions.

    python -m jaxsdgm.main --config=configs/debian_e5.py:en,32,bow \
        --config.data.dir=data/debian --config.encoder.checkpoint=FOLDER_OF_multilingual-e5-small

The argument is language (en, de, fr, ru, zh), labels, and the decoder bow or the twin nxvae_z1.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "en,32,bow") -> ConfigDict:
    language, n_labels, system = argument.split(",")
    config = frozen(language, int(n_labels), system)
    config.name = f"debian_e5_{language}_{n_labels}_{system}"
    config.data.source = "debian"
    return config


def frozen(language: str, n_labels: int, system: str) -> ConfigDict:
    """The generative model on features that are made once; seconds to a minute on a CPU."""
    config = common.classification()
    config.encoder.checkpoint = "intfloat/multilingual-e5-small"
    config.encoder.trainable = False
    config.encoder.pooling = "mean"
    config.encoder.prefix = "query: "
    config.data.language = language
    config.data.n_labels = n_labels
    config.data.subset = "stratified"
    config.data.normaliser = "words"
    config.data.max_length = 128
    config.data.batch_size = 0
    config.data.unlabelled_size = 96
    config.data.targets = ConfigDict({"min_documents": 3, "max_share": 0.3, "cap": 3})
    config.learning_rate = 1e-3
    config.rate_schedule = "cosine"
    config.weight_decay = 1e-3
    config.model.latent = 64
    config.model.head_hidden = 128
    config.model.batch_norm = False
    config.model.conditioning = "concat"
    config.model.classifier_hidden = 128
    config.model.feature_dropout = 0.2
    config.model.alpha_rule = "stepwise"  # see benchmarks/frozen_study.md
    config.model.beta = 100.0
    config.model.labelled_weight = 0.1
    config.model.feature_weight = 1.0
    if system == "bow":
        config.model.decoder = "bow"
    else:
        config.model.system = system
    config.training.max_steps = 2000
    config.training.eval_every = 100
    # no development set is needed: with a cosine the last step is as good as the best by dev
    config.training.select = "last"
    return config
