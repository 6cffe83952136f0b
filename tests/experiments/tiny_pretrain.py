"""SNXVAE and PEMB with everything small, on the generated corpus."""

from ml_collections import ConfigDict

from configs import debian_classify, debian_pemb, debian_snxvae


def _small(config: ConfigDict) -> ConfigDict:
    config.data.source = "generated"
    config.data.sentences = 2000
    config.model.embedding = config.model.latent = 8
    config.model.hidden = 6
    config.model.recurrence = "scan"
    config.data.batch_size = 8
    config.training.max_steps, config.training.eval_every = 4, 2
    config.training.checkpoint_seconds = 0.0
    return config


def snxvae() -> ConfigDict:
    config = _small(debian_snxvae.get_config("en-de"))
    config.data.subwords = 200
    config.data.documents_per_step = 0
    config.data.max_length = 0
    config.model.adversary = "separate"
    config.model.discriminator_hidden = 4
    return config


def pemb() -> ConfigDict:
    config = _small(debian_pemb.get_config("en-de"))
    config.data.vocab_size = ConfigDict({"en": 300, "de": 300})
    config.data.max_length = 12
    return config


def classification(system: str) -> ConfigDict:
    config = _small(debian_classify.get_config(f"de,16,{system}"))
    config.data.max_length = 16
    config.data.unlabelled_size = 8
    config.model.classifier_hidden = 8
    return config
