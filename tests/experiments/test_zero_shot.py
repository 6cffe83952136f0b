"""Labels in one language, the test in another: what is read, what comes out, and that it learns."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import debian_nxvae, debian_zeroshot, mldoc_zeroshot
from jaxsdgm import predict
from jaxsdgm.data.generated import _COMMON, _PER_TOPIC, TOPICS, _spelling, generate
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.experiments import classify, pretrain, zero_shot
from jaxsdgm.experiments.outputs import make_predict, rows_of
from jaxsdgm.experiments.systems import build, make_initialise
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.models.semi import TRANSFERRED
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import stack, stack_plans
from tests.experiments import tiny_quickstart

WIDTH = 8


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A tiny NXVAE of the generated en and de."""
    folder = tmp_path_factory.mktemp("pretrain")
    config = tiny_quickstart.get_config().pretrain
    config.data.source, config.training.max_steps = "generated", 2
    pretrain.run(config, folder)
    return str(folder)


def make_config(pretrained, argument="en-de,16,bow"):
    config = debian_zeroshot.get_config(argument)
    config.pretrained, config.data.source = pretrained, "generated"
    config.data.max_length, config.data.batch_size, config.data.unlabelled_size = 16, 8, 8
    config.model.embedding = config.model.latent = config.model.classifier_hidden = WIDTH
    config.model.hidden, config.model.recurrence = 6, "scan"
    config.training.max_steps, config.training.eval_every = 4, 2
    config.training.checkpoint_seconds = 0.0
    return config


def test_a_run(pretrained, tmp_path):
    config = make_config(pretrained)
    config.frozen = "encoder"
    config.target.n_labels, config.target.labelled_weight, config.target.beta = 4, 0.5, 2.0
    config.target.adversary, config.target.discriminator_hidden = "separate", 5
    results = classify.run(config, tmp_path)
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert (results["kind"], results["language"]) == ("zero_shot", "en-de")
    of = results["by_language"]
    assert results["metrics"]["dev"] == of["en"]["dev"] != of["de"]["dev"]
    assert results["metrics"]["test"] == of["de"]["test"] != of["en"]["test"]
    assert results["data"]["counts"]["unlabelled en"] == 0
    assert results["data"]["counts"]["unlabelled de"] == 396
    assert (results["subset"]["n"], results["target_subset"]["n"]) == (16, 4)
    assert results["trained_parameters"] < results["parameters"]
    # the best step is the source's
    logged = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(row["dev/accuracy"] for row in logged) == pytest.approx(of["en"]["dev"]["accuracy"])
    for group in ("source_labelled", "target_labelled", "target_unlabelled"):
        assert f"train/{group}/discriminator" in logged[0]
    assert "train/source_unlabelled/loss" not in logged[0]
    theirs, ours = (load_pretrained(folder)[0]["params"] for folder in (pretrained, tmp_path))
    for name in TRANSFERRED:
        jax.tree.map(np.testing.assert_array_equal, theirs[name], ours[name])
    page = (tmp_path / "report.html").read_text()
    assert "By language" in page
    assert "Zero-shot" in page
    # the command labels text of the target
    function, names = load_trained(tmp_path)
    corpus = generate("de", seed=0)
    texts = corpus.splits["test"].texts
    found = [one.probabilities for one in predict.predictions(texts, function, names)]
    probabilities = np.array([[one[name] for name in names] for one in found])
    report = classification_report(probabilities, corpus.splits["test"].labels, names)
    assert report["accuracy"] == of["de"]["test"]["accuracy"]


def test_the_source_alone_is_a_twin(pretrained):
    inputs = zero_shot.load_languages(make_config(pretrained, "de-en,16,nxvae_z1"))
    plan = classify.make_plan(make_config(pretrained, "de-en,16,nxvae_z1"), inputs, 1)
    assert plan.groups == {"source_labelled": 16}
    assert [*inputs.of_languages] == ["de", "en"]
    config = make_config(pretrained, "de-en,16,bow")
    config.model.alpha_rule, config.model.beta = "scaled", 0.2
    hyper = classify.make_hyper(config, classify.make_plan(config, inputs, 1))
    assert hyper["alpha"] == pytest.approx(0.2 * (16 + 400) / 16)  # spec §9
    assert hyper["target_alpha"] == 0
    assert (hyper["target_labelled_weight"], hyper["target_unlabelled_weight"]) == (0, 1)


def test_configs():
    config = mldoc_zeroshot.get_config("en-de,64,bow")
    assert (config.data.language, config.target.language) == ("en", "de")
    weights = [config.model.labelled_weight, config.model.unlabelled_weight]
    weights += [config.target.labelled_weight, config.target.unlabelled_weight]
    assert weights == [1, 0, 0, 1]
    assert (config.model.beta, config.model.alpha_rule, config.target.beta) == (0.2, "scaled", 0)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"target.language": "en"}, "are both 'en'; name two"),
        ({"target.language": "fr"}, "pretrained on de, en, not on 'fr'"),
        ({"pretrained": ""}, "config.pretrained is empty"),
        ({"data.source": "files"}, "whose tables are of one language"),
        ({"data.unlabelled": "more.txt"}, "config.data.unlabelled is 'more.txt'"),
        ({"encoder.trainable": False}, "config.encoder is a transformer or frozen"),
        ({"model.system": "nb_em"}, "config.model.system is 'nb_em'; a zero-shot run has one of"),
        ({"model.labelled_weight": 0.0}, "leaves out the source's labels"),
        ({"target.n_labels": 8}, "config.target.labelled_weight 0"),
        (
            {"model.label_prior": "estimated", "model.unlabelled_weight": 1.0},
            "config.model.label_prior is 'estimated'",
        ),
        ({"target.language": "", "target.adversary": "separate"}, "for m1m2 and aux .* on two"),
        ({"model.decoder": "none", "target.adversary": "separate"}, "for m1m2 and aux with a dec"),
        ({"target.adversary": "strong"}, "config.target.adversary is 'strong'"),
        ({"frozen": "all"}, "config.frozen is 'all'; use encoder, embeddings"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_bad_input(pretrained, tmp_path, fields, match):
    config = make_config(pretrained)
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=match) as caught:
        classify.run(config, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_target_without_documents_or_with_other_labels(pretrained, tmp_path):
    text = "".join(f"{c}\tba ko {i}\n" for i in range(8) for c in "CEGM")
    for split in ("train.1000", "dev", "test"):
        (tmp_path / f"english.{split}").write_text(text)
    config = make_config(pretrained)
    config.data.source, config.data.dir = "mldoc", str(tmp_path)
    with pytest.raises(UserError, match=r"german\.train\.1000: no such file"):
        classify.run(config, tmp_path / "run")
    for split in ("train.1000", "dev", "test"):
        (tmp_path / f"german.{split}").write_text("")
    with pytest.raises(UserError, match=r"german\.train\.1000.*empty"):
        classify.run(config, tmp_path / "run")


# -- learning ----------------------------------------------------------------------------------

STEPS, LABELS = 240, 32


@pytest.mark.slow
def test_the_target_is_learned_from_the_sources_labels(tmp_path):
    """With word tables that agree on what words mean; shuffled labels do no better than chance.

    They name the clusters at random: all the documents of a topic are then right or wrong together.
    """
    given, config = aligned(tmp_path)
    found = {kind: target_accuracy(given, config, kind) for kind in ("true", "shuffled")}
    assert found["true"] > 0.6, found
    assert found["shuffled"] < 0.4, found


def aligned(folder):
    """Inputs whose NXVAE has one vector for a concept, however the two languages spell it.

    Concepts of a topic are near each other, as training would have it.
    """
    config = debian_nxvae.get_config("en-de")
    config.data.source, config.data.documents_per_step = "generated", 0
    config.data.vocab_size = ConfigDict({"en": 2_000, "de": 2_000})
    config.model.embedding = config.model.latent = 32
    config.model.hidden, config.training.max_steps, config.training.eval_every = 8, 2, 2
    pretrain.run(config, folder)
    config = make_config(str(folder), f"en-de,{LABELS},bow")
    config.model.embedding = config.model.latent = config.model.classifier_hidden = 32
    config.model.hidden, config.data.max_length = 8, 60
    config.data.batch_size, config.data.unlabelled_size = 0, 32  # one width, one program
    config.training.max_steps = STEPS
    given = zero_shot.load_languages(config)
    given = replace(given, pretrained=jax.device_get(given.pretrained))  # to be put on one device
    params, rng = dict(given.pretrained["params"]), np.random.default_rng(0)
    params["encoder"] = dict(params["encoder"])
    topics = (np.arange(len(_spelling("en"))) - _COMMON) // _PER_TOPIC
    centres = rng.normal(size=(len(TOPICS), 32))
    vectors = 0.2 * rng.normal(size=(len(topics), 32)) + (topics >= 0)[:, None] * centres[topics]
    for language in ("en", "de"):
        ids = {word: i for i, word in enumerate(given.tokenizers[language].words)}
        table = np.array(params["encoder"][f"embeddings_{language}"]["table"])
        for word, vector in zip(_spelling(language), vectors, strict=True):
            if word in ids:
                table[ids[word]] = vector
        params["encoder"][f"embeddings_{language}"] = {"table": table}
    return replace(given, pretrained={**given.pretrained, "params": params}), config


PROGRAMS = {}


def target_accuracy(given, config, labels):
    """Test accuracy in the target language after the last step; both kinds share one program."""
    if labels == "shuffled":
        train = dict(given.splits["train"])
        train["labels"] = np.random.default_rng(0).permutation(train["labels"])
        given = replace(given, splits={**given.splits, "train": train})
    parallel = Parallel(devices=jax.local_devices()[:1])
    model = build(config, given, parallel)
    trial = classify.make_trial(config, model, given, parallel, None, make_initialise(model, given))
    task = classify.make_task(config, model, [given], parallel)
    data, plan = parallel.replicate(task.read()), stack_plans([trial.plan(0, STEPS)])
    state = stack([trial.make()])
    if not PROGRAMS:
        PROGRAMS["run"] = parallel.compile(task.run, state, data, parallel.lay_out(plan))
        PROGRAMS["predict"] = make_predict(model, "de", parallel, trials=True)
    state, _ = PROGRAMS["run"](state, data, parallel.lay_out(plan))
    test = given.target.splits["test"]
    log_q = PROGRAMS["predict"](state.params, state.batch_stats, rows_of(test, model))["log_q"][0]
    return float(np.mean(log_q.argmax(-1) == test["labels"]))
