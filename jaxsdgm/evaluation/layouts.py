"""What the paper's tables have in their rows and columns, as data."""

from collections.abc import Sequence
from typing import Any

from jaxsdgm.evaluation.tables import (
    Key,
    Measure,
    Where,
    discriminator,
    documents,
    parameters,
    running_time,
    setting,
    words_kept,
)

SPLITS = ("train", "dev", "test")
TWINS = ("NXVAE-z1", "NXVAE-h")
SDGM = ("M1+M2", "M1+M2+BOW", "M1+M2+GRU", "AUX+BOW", "AUX+GRU")
TITLES = {
    "2": "documents of each class",
    "4": "test accuracy (%)",
    "5": "settings of pretraining",
    "6": "settings of the BERT that was pretrained on Europarl",
    "7": "settings of supervised training",
    "8": "words and subwords, test accuracy (%)",
    "9": "settings of the semi-supervised models",
    "10": "M1+M2 and AUX, test accuracy (%)",
    "11": "parameters",
    "12": "settings of transformers",
    "13": "transformers, test accuracy (%)",
}
#: of the rows; "system" where nothing else is said
HEADS = {
    "2": ("language", "split"),
    **dict.fromkeys(("5", "6", "7", "9", "12"), ("setting",)),
    "13": ("language", "system"),
}
_SETTINGS = (
    "The paper's values are those on record, which may not be every line of its table. Ours are "
    "those in the configs of the runs, and the times their own on the devices named."
)
NOTES = {
    **dict.fromkeys(("5", "6", "7", "9", "12"), _SETTINGS),
    "11": "The paper's figures are in millions. M1+M2 is trained layer by layer; a run that does "
    "not tell trained parameters from fixed ones has all of them here.",
    "13": "The paper calls its spread a variance; its size is that of a standard deviation.",
}

# -- keys --------------------------------------------------------------------------------------

#: how the paper calls what a run of ours calls otherwise
ROWS: dict[str, Where] = {
    **dict.fromkeys(("RAND", "EMBEDDING-MODELS"), {"system": "NXVAE-z1", "start": "BiLSTM"}),
    "BERTW": {"system": "BERTW", "start": "BERTW"},
    "BERTW+ST": {"system": "BERTW+ST", "start": "BERTW"},
    "BERTSW": {"system": "BERTSW", "start": "BERTSW"},
    "SNXVAE-z1": {"system": "NXVAE-z1", "start": "SNXVAE"},
    **{
        name: {"system": "NXVAE-z1", "start": "vectors", "vectors": name.lower()}
        for name in ("FT", "MUSE", "PEMB", "NXEMB")
    },
}


def named(names: Sequence[str], **where: Any) -> list[Key]:
    """Systems as the paper calls them."""
    return [Key((name,), ROWS.get(name, {"system": name, **where})) for name in names]


def by_language(languages: Sequence[str], names: Sequence[str]) -> list[Key]:
    """A row for each system in each language."""
    return [Key((c, name), {"language": c, "system": name}) for c in languages for name in names]


def by_size(languages: Sequence[str], sizes: Sequence[Any]) -> list[Key]:
    """A column for each number of labels in each language."""
    return [Key((c, str(n)), {"language": c, "n": n}) for c in languages for n in sizes]


def by_split(languages: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Rows and columns of Table 2."""
    rows = [Key((c, split), {"language": c, "split": split}) for c in languages for split in SPLITS]
    columns = [Key((label,), measure=documents(i)) for i, label in enumerate(labels)]
    return {"rows": rows, "columns": columns}


def row(name: str, measure: Measure | None, **where: Any) -> Key:
    """A setting, of some systems or all."""
    return Key((name,), where, measure)


# -- settings ----------------------------------------------------------------------------------

GRU = ("M1+M2+GRU", "AUX+GRU")
DECODING = ("M1+M2+BOW", *GRU, "AUX+BOW")
TRAINING = (
    row("learning rate", setting("learning_rate")),
    row("batch", setting("data.batch_size", zero="all")),
)
STOPPING = (
    row("longest run", setting("training.max_steps", unit="steps")),
    row("patience", setting("training.patience", zero="none")),
)
LENGTH = row("tokens of a document", setting("data.max_length"))
HIDDEN = row("classifier's hidden layer", setting("model.classifier_hidden", zero="none"))
LATENT = row("latent", setting("model.latent"), system=(*DECODING, "M1+M2", "NXVAE-z1"))
TIED = row("decoder's table tied", setting("model.tied"), system=DECODING)
BETA = row("beta", setting("model.beta"), system=(*DECODING, "M1+M2"))
TIME = row("running time", running_time)
COUNT = row("parameters", parameters)
#: the rows of the tables of settings
SETTINGS = {
    "5": (
        row("words kept", words_kept),
        row("embedding", setting("model.embedding")),
        row("LSTM units a direction", setting("model.hidden")),
        row("LSTM layers", setting("model.layers")),
        row("dropout", setting("model.dropout")),
        row("latent", setting("model.latent")),
        row("discriminator's hidden layer", discriminator),
        row("KL weight", setting("model.kl.weight")),
        row("tokens of a sentence", setting("data.max_length", zero="median")),
        *TRAINING,
        STOPPING[0],
        row("steps between evaluations", setting("training.eval_every")),
        STOPPING[1],
        COUNT,
        TIME,
    ),
    "6": (
        row("hidden", setting("model.hidden")),
        row("layers", setting("model.layers")),
        row("heads", setting("model.heads")),
        row("feed-forward", setting("model.feed_forward")),
        row("activation", setting("model.activation")),
        row("dropout", setting("model.dropout")),
        row("positions", setting("model.positions")),
        TRAINING[1],
        COUNT,
        TIME,
    ),
    "7": (HIDDEN, *TRAINING, LENGTH, *STOPPING, TIME),
    "9": (
        HIDDEN,
        LATENT,
        row("auxiliary layers", setting("model.auxiliary_hidden"), system=("AUX+BOW", "AUX+GRU")),
        row("GRU inputs", setting("model.gru.inputs"), system=GRU),
        row("GRU units", setting("model.gru.hidden"), system=GRU),
        row("GRU dropout", None, system=GRU),
        TIED,
        BETA,
        *TRAINING,
        LENGTH,
        *STOPPING,
        TIME,
    ),
    "12": (HIDDEN, LATENT, TIED, BETA, *TRAINING, LENGTH, *STOPPING, COUNT, TIME),
}
