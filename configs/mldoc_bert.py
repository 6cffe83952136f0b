"""BERTW, a BERT that was pretrained on Europarl, fine-tuned on MLDoc (spec §11.2, Table 4).

    python -m jaxsdgm.main --config=configs/mldoc_bert.py:en-de,en,32 \
        --config.data.dir=DIR_OF_MLDOC --config.encoder.checkpoint=RUN_OF_europarl_bert/bertw-en-de

The argument is language pair, task language, labels (0: all 1000) and, where wanted, the system:
sup (the default), or st, which goes on with self-training (BERTW+ST). A checkpoint bertsw-en-de
makes the same runs BERTSW. The paper's took 5.5 hours on one GTX 1080 Ti; not yet run here.
"""

from ml_collections import ConfigDict

from configs import common

EPOCHS = 5000  # of each part


def get_config(argument: str = "en-de,en,32") -> ConfigDict:
    pair, language, n_labels, *rest = argument.split(",")
    (system,) = rest or ["sup"]
    config = common.classification()
    config.name = f"mldoc_bert_{pair}_{language}_{n_labels}_{system}"
    config.data.languages = tuple(pair.split("-"))
    config.data.language = language
    config.data.n_labels = int(n_labels)
    fine_tuned(config, pair)
    config.learning_rate = 2e-5
    config.training.max_steps = EPOCHS * -(-(config.data.n_labels or 1000) // 16)
    if system == "st":
        config.self_training.max_steps = EPOCHS * -(-1000 // 16)
    return config


def fine_tuned(config: ConfigDict, pair: str) -> None:
    """A linear classifier on the pooled first token, everything fine-tuned; in place."""
    # a folder that is not there until --config.encoder.checkpoint names one
    config.encoder.checkpoint = f"./bertw-{pair}"
    config.model.system = "sup_h"
    config.model.classifier_hidden = 0
    config.model.classifier_dropout = 0.1
