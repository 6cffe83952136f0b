"""The commands that make the runs of the tables."""

from collections.abc import Mapping
from typing import Any

from jaxsdgm.evaluation.report import NOTHING

MAIN = "python -m jaxsdgm.main --config=configs/"
#: what a config file calls a system; the paper's systems that are not here are not in the library
ARGUMENTS = {
    "NXVAE-h": "nxvae_h",
    "NXVAE-z1": "nxvae_z1",
    "M1+M2": "none",
    "M1+M2+BOW": "bow",
    "M1+M2+GRU": "gru",
    "AUX+BOW": "aux-bow",
    "AUX+GRU": "aux-gru",
    "TF-IDF + LR": "tfidf_lr",
    "naive Bayes + EM": "nb_em",
    "Supervised": "ssvae-sup",
    "SSVAE": "ssvae",
    "SSVAE-{KL}": "ssvae-kl",
    "SSVAE-{z}": "ssvae-z",
    "SSVAE-{KL,z}": "ssvae-kl-z",
}
FINE_TUNED = {"SUP-h": "sup", "M1+M2+BOW": "m1m2,bow", "M1+M2+GRU": "m1m2,gru"}
FROZEN = {
    "NXVAE-z1": "nxvae_z1",
    "NXVAE-h": "nxvae_h",
    "M1+M2+BOW": "bow",
    "M1+M2+GRU": "bow --config.model.decoder=gru",
    "AUX+BOW": "bow --config.model.system=aux",
    "AUX+GRU": "bow --config.model.system=aux --config.model.decoder=gru",
    "features + LR": "features_lr",
}
VECTORS = {"NXVAE-z1": "vectors"}
RANDOM = {**ARGUMENTS, "NXVAE-z1": "rand"}
PRETRAINING = {"NXVAE": "nxvae", "SNXVAE": "snxvae"}
BERT = {"BERTW": "sup", "BERTSW": "sup", "BERTW+ST": "st", "BERTSW+ST": "st"}
#: by what the encoder starts from; pretraining starts from nothing
SYSTEMS = {
    "": PRETRAINING,
    "fine-tuned": FINE_TUNED,
    "frozen": FROZEN,
    "vectors": VECTORS,
    "BiLSTM": RANDOM,
    "BERTW": BERT,
    "BERTSW": BERT,
}

_MLDOC = "mldoc_nxvae.py:{pair},{language},{labels},{argument} --config.data.dir=DIR_OF_MLDOC"
_DEBIAN = "debian_classify.py:{language},{labels},{argument} --config.data.dir=DIR_OF_DEBIAN"
_SIB200 = (
    "debian_classify.py:{language},{labels},{argument} --config.data.source=sib200 "
    "--config.data.dir=DIR_OF_SIB200"
)
_SIB200_FROZEN = "sib200_e5.py:{language},{labels},{argument} --config.data.dir=DIR_OF_SIB200"
_OWN = (
    "own_files.py:{argument} --config.data.train=FILE --config.data.language={language} "
    "--config.data.n_labels={labels}"
)
_NXVAE = " --config.pretrained=RUN_OF_europarl_nxvae_{pair}"
_SNXVAE = " --config.pretrained=RUN_OF_europarl_snxvae_{pair}"
_VECTORS = " --config.vectors={vectors}.{language}.vec"
_DEBIAN_NXVAE = " --config.pretrained=RUN_OF_debian_nxvae"
_DEBIAN_SNXVAE = " --config.pretrained=RUN_OF_debian_snxvae"
_FROZEN = "debian_e5.py:{language},{labels},{argument} --config.data.dir=DIR_OF_"
_FINE_TUNED = "mldoc_mbert.py:{language},{size},{argument} --config.data.dir=DIR_OF_"
_MLDOC_BERT = "mldoc_bert.py:{pair},{language},{labels},{argument} --config.data.dir=DIR_OF_MLDOC"
_DEBIAN_BERT = (
    "debian_classify.py:{language},{labels},bert-{argument} --config.data.dir=DIR_OF_DEBIAN"
)
_TEXT_SET = "ssvae_%s.py:{argument},{share:g} --config.trials=5"
_EUROPARL_BERT = "europarl_bert.py:{pair},%s --config.data.dir=DIR_OF_EUROPARL"
_BERT = " --config.encoder.checkpoint=RUN_OF_%s_bert/%s-{pair}"
#: by corpus and what the encoder starts from
COMMANDS = {
    ("europarl", ""): "europarl_{argument}.py:{pair} --config.data.dir=DIR_OF_EUROPARL",
    ("europarl", "BERTW"): _EUROPARL_BERT % "words",
    ("europarl", "BERTSW"): _EUROPARL_BERT % "subwords",
    **{
        ("mldoc", name): _MLDOC_BERT + _BERT % ("europarl", name.lower())
        for name in ("BERTW", "BERTSW")
    },
    **{
        ("debian", name): _DEBIAN_BERT + _BERT % ("debian", name.lower())
        for name in ("BERTW", "BERTSW")
    },
    **{(name, "BiLSTM"): _TEXT_SET % name for name in ("agnews", "dbpedia", "imdb", "yelp")},
    ("mldoc", "NXVAE"): _MLDOC + _NXVAE,
    ("mldoc", "SNXVAE"): _MLDOC + _SNXVAE,
    ("mldoc", "BiLSTM"): _MLDOC,
    ("mldoc", "vectors"): _MLDOC + _VECTORS,
    ("mldoc", NOTHING): _MLDOC,
    ("mldoc", "frozen"): _FROZEN + "MLDOC --config.data.source=mldoc",
    ("mldoc", "fine-tuned"): _FINE_TUNED + "MLDOC",
    ("debian", "NXVAE"): _DEBIAN + _DEBIAN_NXVAE,
    ("debian", "SNXVAE"): _DEBIAN + _DEBIAN_SNXVAE,
    ("debian", "BiLSTM"): _DEBIAN,
    ("debian", "vectors"): _DEBIAN + _VECTORS,
    ("debian", NOTHING): _DEBIAN,
    ("debian", "frozen"): _FROZEN + "DEBIAN",
    ("debian", "fine-tuned"): _FINE_TUNED + "DEBIAN --config.data.source=debian",
    ("sib200", "NXVAE"): _SIB200 + _DEBIAN_NXVAE,
    ("sib200", "SNXVAE"): _SIB200 + _DEBIAN_SNXVAE,
    ("sib200", "BiLSTM"): _SIB200,
    ("sib200", "vectors"): _SIB200 + _VECTORS,
    ("sib200", NOTHING): _SIB200,
    ("sib200", "frozen"): _SIB200_FROZEN,
    ("sib200", "fine-tuned"): _FINE_TUNED + "SIB200 --config.data.source=sib200",
    ("files", "NXVAE"): _OWN + _DEBIAN_NXVAE,
    ("files", "SNXVAE"): _OWN + _DEBIAN_SNXVAE,
    ("files", "BiLSTM"): _OWN,
    ("files", NOTHING): _OWN,
    ("files", "frozen"): (
        "own_files_e5.py:{language},{argument} --config.data.train=FILE "
        "--config.data.n_labels={labels}"
    ),
}


def command_of(facts: Mapping[str, Any]) -> str:
    """The command whose run has these facts (see `tables.run_of`); "" where no config makes one.

    What only the reader knows, such as where a corpus is, is in capitals.
    """
    corpus, start = facts["corpus"].split(" ")[0], facts.get("start", "")
    template = COMMANDS.get((corpus, start))
    argument = SYSTEMS.get(start, ARGUMENTS).get(facts["system"], "")
    if not template or not argument:
        return ""
    n = facts.get("n", 32)
    command = MAIN + template.format(
        pair=facts.get("pair", ""),
        language=facts.get("language", ""),
        labels=0 if n == "all" else n,
        share=1 if n == "all" else n / 4000,
        size=1000 if n == "all" else n,
        argument=argument,
        vectors=facts.get("vectors", ""),
    )
    if facts.get("checkpoint"):
        command += f" --config.encoder.checkpoint=FOLDER_OF_{facts['checkpoint']}"
    if facts.get("unlabelled"):
        rest = facts["unlabelled"] == "rest"
        command += f" --config.data.unlabelled={'rest' if rest else 'FILE_OF_TEXTS'}"
    if facts.get("other"):
        command += f" --config.data.out_of_domain.source={facts['other']}"
    for part in filter(None, facts.get("swept", "").split(", ")):
        name, value = part.split(" ")
        command += f" --config.sweep.{name}={value}"
    return command
