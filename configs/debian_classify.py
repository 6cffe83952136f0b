"""M1+M2+BOW or a twin on Debian's package descriptions, from a few labels.

    python -m jaxsdgm.main --config=configs/debian_classify.py:en,32,bow \
        --config.data.dir=data/debian --config.pretrained=RUN_OF_debian_nxvae

The argument is language, labels and M1+M2's decoder (bow, gru, none), AUX with one (aux-bow,
aux-gru), a twin (nxvae_z1, nxvae_h), the twin without NXVAE (rand; or vectors: embeddings from
--config.vectors=FILE.vec; leave config.pretrained empty) or a baseline (tfidf_lr, nb_em). From
RUN_OF_debian_snxvae they read its subwords: nxvae_z1 is then SNXVAE-z1. Or the BERT of
debian_bert.py, fine-tuned (bert-sup) and self-trained (bert-st):

    python -m jaxsdgm.main --config=configs/debian_classify.py:en,32,bert-st \
        --config.data.dir=data/debian --config.encoder.checkpoint=RUN_OF_debian_bert/bertw-en-de
"""

from ml_collections import ConfigDict

from configs import common, mldoc_bert


def get_config(argument: str = "en,32,bow") -> ConfigDict:
    language, n_labels, decoder = argument.split(",")
    config = common.classification()
    config.name = f"debian_{language}_{n_labels}_{decoder}"
    config.data.source = "debian"
    config.data.language = language
    config.data.n_labels = int(n_labels)
    config.data.subset = "stratified"
    config.data.max_length = 80
    config.data.batch_size = 32
    config.data.unlabelled_size = 64
    config.learning_rate = 1e-3
    config.rate_schedule = "cosine"
    config.weight_decay = 1e-3
    config.model.embedding = config.model.latent = 96
    config.model.hidden = 64
    config.model.layers = 1
    config.model.pooling = "mean+words"
    config.model.feature_dropout = 0.4
    config.model.classifier_hidden = 128
    config.model.alpha_rule = "plain"
    config.model.beta = 3.0
    config.model.labelled_weight = 0.1
    if decoder in ("bert-sup", "bert-st"):
        mldoc_bert.fine_tuned(config, "en-de")
        config.encoder.pooling = "mean"
    elif decoder in ("nxvae_z1", "nxvae_h", "tfidf_lr", "nb_em"):
        config.model.system = decoder
    elif decoder in common.EMBEDDINGS:
        common.embeddings_only(config, decoder, normaliser="words")
    else:
        common.generative(config, decoder)
        config.model.auxiliary_hidden = 128
        if config.model.decoder == "bow":
            config.data.targets = ConfigDict({"min_documents": 3, "max_share": 0.3, "cap": 3})
    config.training.max_steps = 400
    config.training.eval_every = 100
    if config.model.decoder == "gru":
        config.model.gru.hidden = config.model.embedding
        config.learning_rate, config.encoder_rate = 3e-3, 0.3
        config.training.max_steps, config.training.eval_every = 150, 50
    config.training.patience = 0
    if decoder == "bert-st":
        config.self_training.max_steps, config.self_training.eval_every = 240, 60
    return config
