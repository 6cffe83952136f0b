"""A small NXVAE on Debian's EN-DE descriptions, then M1+M2+BOW and its supervised twin.

    python -m jaxsdgm.main --config=configs/quickstart.py --workdir=runs/quickstart

The text is fetched by the machine's own apt-get; where that cannot be, a generated corpus stands in
and the report says so. About 5 minutes on 2 CPU cores. The argument is language and labels (en,32).
"""

from ml_collections import ConfigDict

from configs import debian_classify, debian_nxvae


def get_config(argument: str = "en,32") -> ConfigDict:
    config = ConfigDict()
    config.name = "quickstart"
    config.experiment = "stages"
    config.order = ("pretrain", "m1m2", "supervised")
    # debian (fetched where dir is empty) or generated.
    config.corpus = ConfigDict({"source": "debian", "dir": ""})
    config.corpus.build = ConfigDict({"languages": ("en", "de"), "pretrain": ("de",)})
    config.corpus.build.timeout = 120.0

    config.pretrain = debian_nxvae.get_config("de-en")
    config.pretrain.name = "NXVAE"
    config.pretrain.data.batch_size = 48
    config.pretrain.data.documents_per_step = 24
    config.pretrain.data.vocab_size = ConfigDict({"de": 8_000, "en": 8_000})
    config.pretrain.training.max_steps = 500
    config.pretrain.training.eval_every = 50
    for stage, system in (("m1m2", "bow"), ("supervised", "nxvae_z1")):
        config[stage] = debian_classify.get_config(f"{argument},{system}")
        config[stage].pretrained = "stage:pretrain"
        config[stage].training.max_steps = 400
        config[stage].training.eval_every = 50
    config.m1m2.name = "M1+M2+BOW"
    config.supervised.name = "NXVAE-z1 (supervised twin)"
    for stage in config.order:
        config[stage].training.checkpoint_seconds = 10.0
    return config
