"""Text VAEs on the Penn Treebank: every recipe of the paper's Table 3.

    python -m jaxsdgm.main --config=configs/textvae_ptb.py:ours,4 --config.data.dir=DIR

The argument is the recipe and, where it has one, the target of its free bits in nats:
lm, ae, vae, anneal, cyclic, cyclic-sgd, aggressive, fb,L, fbp,L (per dimension, on the whole),
pretrain and pretrain-anneal (an autoencoder's encoder), ours,L (that, annealing and free bits per
dimension), iwae and iwae-pretrain. "ours,2-9" trains the targets 2 to 9 side by side.
DIR has train.txt, valid.txt and test.txt, or the usual three files ptb.*.txt.
Not yet run on the Penn Treebank itself, which may not be handed on.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "ours,4") -> ConfigDict:
    config = common.language_model()
    config.data.source = "ptb"
    choose(config, argument)
    return config


def choose(config: ConfigDict, argument: str) -> None:
    """The recipe that an argument names, in place."""
    recipe, _, target = argument.partition(",")
    config.name = f"textvae_{config.data.source}_{argument.replace(',', '_')}"
    set_target(config, target)
    model = config.model
    if recipe in ("fb", "ours"):
        model.free_bits_of = "dimension"
    elif recipe == "fbp":
        model.free_bits_of = "sentence"
    if recipe in ("anneal", "pretrain-anneal", "ours"):
        model.kl_warmup_epochs = 10
    config.pretrain_encoder = recipe in ("pretrain", "pretrain-anneal", "ours", "iwae-pretrain")
    if recipe.startswith("iwae"):
        model.importance_samples = 10
    if recipe == "lm":
        model.latent = 0
        config.plateau.patience, config.plateau.first = 2, 0
    elif recipe == "ae":
        model.kl_weight = 0.0
    elif recipe == "aggressive":
        config.aggressive, config.plateau.patience = True, 2
        config.optimizer, config.learning_rate = "sgd", 1.0
    elif recipe.startswith("cyclic"):
        model.kl_cycle_epochs = 10
        config.optimizer, config.learning_rate = "sgd", 0.5
        if recipe == "cyclic":
            config.optimizer, config.learning_rate = "adam", 1e-3
            config.plateau.decays, config.training.max_epochs = 0, 40
    elif recipe not in RECIPES:
        raise ValueError(f"{recipe!r} is no recipe; use one of {', '.join(RECIPES)}")


RECIPES = (
    *("lm", "ae", "vae", "anneal", "cyclic", "cyclic-sgd", "aggressive", "fb", "fbp"),
    *("pretrain", "pretrain-anneal", "ours", "iwae", "iwae-pretrain"),
)


def set_target(config: ConfigDict, target: str) -> None:
    """The free bits, in nats: a number, or all whole ones from one to another ("2-9")."""
    first, _, last = target.partition("-")
    config.model.free_bits = float(first or 0)
    if last:
        config.sweep.free_bits = tuple(float(x) for x in range(int(first), int(last) + 1))
