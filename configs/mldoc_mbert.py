"""The paper's mBERT experiment on MLDoc: fine-tuning with M1+M2+BOW, and SUP-h (Table 13).

    python -m jaxsdgm.main --config=configs/mldoc_mbert.py:en,8 --config.data.dir=DIR_OF_MLDOC

The argument is language (en, de, fr, ru, zh), labels (8, 16, 32; 1000: all) and, where wanted, the
system: m1m2 (the default) with its decoder bow or gru (en,8,m1m2,gru), or sup, the linear head on
the pooled first token. Any BERT-like checkpoint takes mBERT's place: --config.encoder.checkpoint.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "en,8") -> ConfigDict:
    language, n_labels, *rest = argument.split(",")
    system, decoder = [*rest, "m1m2", "bow"][0], [*rest, "bow", "bow"][1]
    config = common.classification()
    config.name = f"mldoc_mbert_{language}_{n_labels}_{system}"
    config.data.language = language
    fine_tuned(config, int(n_labels), "sup" if system == "sup" else decoder)
    return config


def fine_tuned(config: ConfigDict, n_labels: int, system: str) -> None:
    """Everything fine-tuned with the values of the paper's Table 12; in place."""
    config.encoder.checkpoint = "bert-base-multilingual-cased"
    config.encoder.lower = True
    config.encoder.remat = True
    config.data.n_labels = 0 if n_labels == 1000 else n_labels
    config.data.subset = "stratified"
    config.data.max_length = 200
    config.data.batch_size = 4
    config.learning_rate = 2e-5
    config.model.latent = 768
    config.model.tied = True
    config.model.classifier_hidden = 0
    config.model.alpha_rule = "plain"
    config.model.beta = 10.0
    if system == "sup":
        config.model.system = "sup_h"
    else:
        config.model.decoder = system
    config.training.patience = 100
    epochs = 500
    config.training.max_steps = epochs * -(-n_labels // 4)
