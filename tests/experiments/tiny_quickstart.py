"""The quickstart with everything small, on the generated corpus: a config file for tests."""

from ml_collections import ConfigDict

from configs import quickstart


def get_config(source: str = "generated") -> ConfigDict:
    config = quickstart.get_config("en,16")
    config.corpus.source = source
    for stage in config.order:
        config[stage].model.embedding = config[stage].model.latent = 8
        config[stage].model.hidden = 6
        config[stage].model.recurrence = "scan"  # compiles in a third of the time
        config[stage].training.max_steps, config[stage].training.eval_every = 6, 2
        config[stage].training.checkpoint_seconds = 0.0
    config.pretrain.data.vocab_size = ConfigDict({"en": 300, "de": 300})
    config.pretrain.data.batch_size, config.pretrain.data.documents_per_step = 8, 4
    config.pretrain.data.document_length = 12
    for stage in ("m1m2", "supervised"):
        config[stage].data.max_length = 16
        config[stage].data.batch_size, config[stage].data.unlabelled_size = 8, 8
        config[stage].model.classifier_hidden = 8
    return config
