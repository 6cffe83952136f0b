"""Tagging runs: trials, resuming, two stages, what is written, learning, bad input."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import vsl_conll2003, vsl_twitter, vsl_ud
from jaxsdgm.data.tagged import read_conllu
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.tagging import entity_scores, tagging_report
from jaxsdgm.experiments import stages, tag
from jaxsdgm.experiments.tag_inputs import Vocabularies, draw, load_inputs
from jaxsdgm.experiments.tagger import load_tagger
from jaxsdgm.report import compare
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.trials import stack, stack_plans
from tests.experiments import tiny_tags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_tags.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def together(folder, tmp_path_factory):
    """Two trials of VSL-GG-Hier."""
    workdir = tmp_path_factory.mktemp("together")
    tag.run(tiny_tags.config(folder, trials=2), workdir)
    return workdir


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def metrics_of(folder):
    return [*map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]


@pytest.mark.parametrize(
    ("argument", "read"), [("hier", "y"), ("hier-z", "z"), ("g", "z"), ("bigru", "y")]
)
def test_the_maps_to_the_tag_move_slower(argument, read):
    config = vsl_ud.get_config(f"german,{argument}")
    names = "classifier", "gru", "means_y", "means_z", "log_vars_y", "log_vars_z"
    params = {name: {"kernel": np.zeros(1, np.float32)} for name in names}
    gradient = jax.tree.map(np.ones_like, params)
    moves = {}
    for rates in ((1.0, 1.0), (0.5, 0.25)):
        config.classifier_rate, config.tag_rate = rates
        optimizer = tag.make_optimizer(config)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        moves[rates] = {name: float(x["kernel"][0]) for name, x in updates.items()}
    found = {name: moves[0.5, 0.25][name] / x for name, x in moves[1.0, 1.0].items()}
    slow = {"classifier": 0.5, f"means_{read}": 0.25, f"log_vars_{read}": 0.25}
    assert found == pytest.approx(dict.fromkeys(names, 1.0) | slow)


def test_what_is_written(together):
    assert set(results_of(together)) >= {"points", "accuracy", "chosen"}
    for i in range(2):
        found = results_of(together / f"trial-{i}")
        assert found["kind"] == "tag"
        assert found["subset"]["n"] == 12
        assert found["subset"]["unlabelled"] == 30
        assert set(found["latents"]["active_units"]) == {"y", "z"}
        assert 0 <= found["metrics"]["test"]["accuracy"] <= 1
        images = {path.name for path in (together / f"trial-{i}" / "figures").iterdir()}
        assert {"tsne_of_y.png", "tsne_of_z.png", "confusion.svg"} <= images
        rows = metrics_of(together / f"trial-{i}")
        assert {"train/labelled/kl_y", "train/unlabelled/kl_z"} <= set(rows[-1])
    assert results_of(together / "trial-0")["subset"]["seed"] == 0
    assert "VSL-GG-Hier" in (together / "summary.md").read_text()
    page = compare([str(together)], together)
    assert "2 runs" in page


def test_one_alone_is_that_of_several(folder, together, tmp_path):
    alone = tiny_tags.config(folder, seed=1)
    alone.data.subset_seed = 1
    tag.run(alone, tmp_path)
    ours, theirs = metrics_of(tmp_path), metrics_of(together / "trial-1")
    for one, other in zip(ours, theirs, strict=True):
        for name in ("train/loss", "dev/accuracy", "train/unlabelled/kl_y"):
            assert one[name] == pytest.approx(other[name], rel=1e-4), name


def test_resumed(folder, tmp_path):
    """From the checkpoint in the middle a run ends with the same parameters and priors."""
    config = tiny_tags.config(folder, **{"training.checkpoint_seconds": 0.0})
    config.training.select = "last"
    tag.run(config, tmp_path)
    before = load_pretrained(tmp_path)[0]
    assert before["batch_stats"]["priors"]["visits"].sum() == 4 * 8
    (tmp_path / "results.json").unlink()
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    tag.run(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, load_pretrained(tmp_path)[0], before)
    assert [row["step"] for row in metrics_of(tmp_path)] == [2, 4]


def test_priors_of_a_stage_before(folder, tmp_path):
    """The second stage starts from the priors of the first, and from nothing else of it."""
    config = vsl_twitter.two_stages(tiny_tags.config(folder))
    config.corpus.source, config.corpus.dir = "ud", str(folder)
    stages.run(config, tmp_path)
    second = results_of(tmp_path / "second")
    assert second["config"]["priors"].endswith("first")
    assert second["config"]["model"]["unlabelled_weight"] == 1.0
    first, about, _ = load_pretrained(tmp_path / "first")
    one = tiny_tags.config(folder, priors=str(tmp_path / "first"))
    inputs = load_inputs(one)
    model = tag.build(one, inputs, Parallel(), trials=1)
    fresh = tag.make_initialise(model, inputs)(0)
    found = tag.with_priors(fresh, one, inputs)
    before = first["batch_stats"]["priors"]["mean"]
    np.testing.assert_array_equal(found["batch_stats"]["priors"]["mean"], before)
    np.testing.assert_array_equal(
        found["params"]["classifier"]["kernel"], fresh["params"]["classifier"]["kernel"]
    )
    assert about["sentences"] == tag.fingerprint(inputs)["sentences"]


def test_priors_of_other_sentences(folder, together, tmp_path):
    other = tiny_tags.corpus(tmp_path / "other", train=50)
    config = tiny_tags.config(other, priors=str(together / "trial-0"))
    with pytest.raises(UserError, match="its priors are of other sentences"):
        tag.run(config, tmp_path / "a")
    config = tiny_tags.config(folder, priors=str(together / "trial-0"), **{"model.latent": 5})
    with pytest.raises(UserError, match=r"its priors are \(\d+, 7\), not \(\d+, 8\)"):
        tag.run(config, tmp_path / "b")
    config = tiny_tags.config(folder, "bigru", priors=str(together / "trial-0"))
    with pytest.raises(UserError, match="is for a system with priors, not bigru"):
        tag.run(config, tmp_path / "c")


@pytest.mark.parametrize("system", ["bigru", "g", "flat", "hier-z", "hier-novr"])
def test_systems(folder, tmp_path, system):
    """Each trains; without unlabelled sentences where it does not learn from them."""
    found = tag.run(tiny_tags.config(folder, system), tmp_path)
    assert np.isfinite(found["metrics"]["dev"]["accuracy"])
    unlabelled = 0 if system in ("bigru", "hier-novr") else 30
    assert found["subset"]["unlabelled"] == unlabelled


def test_amounts_of_unlabelled_sentences(folder, tmp_path):
    """The paper's Figure 4 as one program; none is an amount too."""
    config = tiny_tags.config(folder, **{"training.max_steps": 2})
    config.sweep.unlabelled_share = (0.0, 0.25, 0.5)
    found = tag.run(config, tmp_path)
    assert [point["values"]["unlabelled_share"] for point in found["points"]] == [0, 0.25, 0.5]
    seen = [results_of(tmp_path / f"unlabelled_share={x}")["subset"] for x in ("0", "0.25", "0.5")]
    assert [subset["unlabelled"] for subset in seen] == [0, 15, 30]


def test_entities(tmp_path):
    """Spans are made BIOES, scored strictly, and select."""
    for name in ("eng.train", "eng.testa", "eng.testb"):
        lines = "EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n1996 CD I-NP O\n\n" * 10
        (tmp_path / name).write_text(lines)
    config = vsl_conll2003.get_config("hier")
    tiny = tiny_tags.config(tmp_path)
    for name in ("embedding", "hidden", "character_embedding", "character_hidden", "recurrence"):
        config.model[name] = tiny.model[name]
    config.data.dir, config.training = str(tmp_path), tiny.training
    found = tag.run(config, tmp_path / "run")
    assert set(found["metrics"]["test"]) >= {"accuracy", "precision", "recall", "f1"}
    assert found["label_names"] == ["O", "S-ORG"]


def test_scores():
    gold, found = [["B-X", "E-X", "O", "S-Y"]], [["B-X", "E-X", "O", "B-Y"]]
    scores = entity_scores(found, gold)
    assert scores == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    report = tagging_report(found, gold, ("B-X", "B-Y", "E-X", "O", "S-Y"))
    assert report["accuracy"] == 0.75
    assert report["macro_f1"] == 0.75
    assert sum(map(sum, report["confusion"])) == 4


def test_predict(folder, together, tmp_path):
    """Words in lines or in CoNLL-U, tags out in either form."""
    run = together / "trial-0"
    tagger = load_tagger(run)
    sentence = ["bonu", "NeverSeen", "fulit"]
    (found,) = tagger([sentence])
    assert len(found) == 3
    assert set(found) <= set(tiny_tags.TAGS)
    test = read_conllu(folder / "x-test.conllu")
    pairs = zip(sum(map(tuple, tagger(test.words)), ()), sum(test.tags, ()), strict=True)
    right = np.mean([one == other for one, other in pairs])
    assert right == pytest.approx(results_of(run)["metrics"]["test"]["accuracy"])
    (tmp_path / "in.txt").write_text(" ".join(sentence) + "\n")
    command = [sys.executable, "-m", "jaxsdgm.predict", f"--workdir={run}"]
    out = tmp_path / "out.conllu"
    done = subprocess.run(
        [*command, f"--input={tmp_path / 'in.txt'}", f"--output={out}"], check=False
    )
    assert done.returncode == 0
    assert read_conllu(out).tags == (tuple(found),)
    assert read_conllu(out).words == (tuple(sentence),)
    again = subprocess.run([*command, f"--input={out}"], capture_output=True, text=True, check=True)
    lines = [f"{word}\t{name}" for word, name in zip(sentence, found, strict=True)]
    assert again.stdout == "\n".join(lines) + "\n\n"


def test_several_devices(folder):
    """Rows spread over devices: the same losses and the same priors everywhere."""

    def losses(n):
        parallel = Parallel("jit", jax.local_devices()[:n])
        config = tiny_tags.config(folder)
        inputs = load_inputs(config)
        model = tag.build(config, inputs, parallel, trials=1)
        trial = draw(inputs, config)
        schedule = tag.Schedule(**config.training)
        (plan,) = tag.make_plans([config], [trial], inputs, schedule, parallel)
        task = tag.make_task(config, model, inputs, [trial], ["labelled", "unlabelled"], parallel)
        initialise = tag.make_initialise(model, inputs)
        state = stack([tag.make_trial(config, plan, inputs, trial, None, initialise).make()])
        state = parallel.place(state, 1)
        batches = parallel.lay_out(stack_plans([plan(0, 4)]))
        data = parallel.replicate(task.read())
        run = parallel.compile(task.run, state, data, batches)
        state, history = run(state, data, batches)
        return history[tag.TAGS]["loss"], state.batch_stats["priors"]["mean"]

    one, two = losses(1), losses(2)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-3, atol=1e-5)


def test_vectors(folder, tmp_path):
    """Words without a vector are unknown; a frozen table stays as the file has it."""
    path = tmp_path / "some.vec"
    inputs = load_inputs(tiny_tags.config(folder))
    words = inputs.vocabularies.words.words[2:12]
    rng = np.random.default_rng(0)
    lines = [f"{word} " + " ".join(f"{x:.3f}" for x in rng.normal(size=6)) for word in words]
    path.write_text("\n".join(lines) + "\n")
    fields = {"vectors": str(path), "frozen": "embeddings"}
    config = tiny_tags.config(folder, **fields)
    found = tag.run(config, tmp_path / "run")
    assert found["vectors"] == {"name": "some"}
    params = load_pretrained(tmp_path / "run")[0]["params"]
    table = np.asarray(params["encoder"]["table"])
    assert table.shape == (12, 6)
    wanted = {line.split()[0]: [*map(float, line.split()[1:])] for line in lines}
    with_vectors = load_inputs(config).vocabularies.words.words
    np.testing.assert_allclose(table[2:], [wanted[word] for word in with_vectors[2:]], atol=1e-6)
    with pytest.raises(UserError, match="vectors of 6 numbers where 7 are needed"):
        tag.run(tiny_tags.config(folder, **fields, **{"model.embedding": 7}), tmp_path / "other")


@pytest.mark.parametrize("system", ["bigru", "hier"])
def test_a_word_that_never_had_a_tag_is_unknown(folder, system):
    config = tiny_tags.config(folder, system)
    inputs, known = load_inputs(config), set()
    trial = draw(inputs, config)
    for i in trial.labelled:
        known.update(inputs.train["ids"][i])
    if system == "hier":  # there are words that are read in training only
        assert set(np.unique(inputs.train["ids"][trial.unlabelled])) - known
    assert set(np.unique(trial.held_out["dev"]["ids"])) - known <= {0, 1}
    assert trial.rare[np.isin(inputs.train["ids"], [*known], invert=True)].all()


def test_a_word_is_looked_up_in_lower_case():
    kind = {"normaliser": "whitespace", "size": 2}
    words = WordTokenizer.train([["bon", "Bona"]], language="words", **kind)
    read = WordTokenizer.train([["bon"]], language="read", **kind)
    vocabularies = Vocabularies(words, words, ())
    ((bon, bona),) = words.encode_tokens([["bon", "Bona"]], 2)[0].tolist()
    sentence = [["bon", "Bon", "Bona", "BONA"]]
    assert vocabularies.encode(sentence, most=3)["ids"].tolist() == [[bon, bon, bona, 1]]
    assert vocabularies.encode(sentence, most=3, read=read)["ids"].tolist() == [[bon, bon, 1, 1]]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"model.system": "crf"}, "config.model.system is 'crf'; use one of bigru, vsl-g"),
        ({"model.classify": "x"}, "config.model.classify is 'x'; use y or z"),
        ({"model.classify": "z", "model.system": "vsl-g"}, "which is for vsl-gg-hier"),
        ({"frozen": "encoder"}, "config.frozen is 'encoder'; use embeddings"),
        ({"frozen": "embeddings"}, "which are random; name word vectors"),
        ({"data.labelled_share": 0.7}, "at most 1 together"),
        ({"data.labelled_share": 0.001}, "0.001 of 60 sentences is none; raise it"),
        ({"data.vocabulary": "all"}, "config.data.vocabulary is 'all'; use one of train"),
        ({"data.unlabelled": "/nowhere"}, "/nowhere: no such file"),
    ],
)
def test_bad_input(folder, tmp_path, fields, match):
    with pytest.raises(UserError, match=match) as caught:
        tag.run(tiny_tags.config(folder, **fields), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_tag(folder, tmp_path):
    other = tiny_tags.corpus(tmp_path / "other")
    dev = other / "x-dev.conllu"
    dev.write_text(dev.read_text().replace("\tNOUN\t", "\tPROPN\t", 1))
    with pytest.raises(UserError, match="dev or test has the tag 'PROPN', of which train has none"):
        tag.run(tiny_tags.config(other), tmp_path / "run")


@pytest.mark.parametrize("language", vsl_ud.LANGUAGES)
@pytest.mark.parametrize("system", ["bigru", "g", "flat", "hier", "hier-z", "g-sup", "flat-novr"])
def test_configs(language, system):
    config = vsl_ud.get_config(f"{language},{system}")
    assert config.data.labelled_share == 0.2
    model = tag.build_model(config, (100, 50), 17)
    assert (model.variational, model.classify) == (
        not system.endswith("novr"),
        "z" if system.endswith("-z") else "y",
    )


# -- learning ------------------------------------------------------------------------------------

LEARNING = {"training.max_steps": 300, "training.eval_every": 100, "learning_rate": 0.01}
LEARNING |= {"model.embedding": 16, "model.hidden": 16, "model.character_hidden": 12}
LEARNING |= {"model.latent": 12, "model.tag_latent": 8, "model.decoder_hidden": 16}
MOST_FREQUENT = 0.27


@pytest.mark.slow
@pytest.mark.parametrize("system", ["bigru", "g", "flat", "hier", "hier-z"])
def test_learning(tmp_path, system):
    """Tags are learnt; of shuffled ones no more than the most frequent one."""
    found = {}
    for shuffled in (False, True):
        folder = tiny_tags.corpus(tmp_path / f"{shuffled}", train=120, shuffled=shuffled)
        results = tag.run(tiny_tags.config(folder, system, **LEARNING), tmp_path / f"run{shuffled}")
        found[shuffled] = results["metrics"]["test"]["accuracy"]
    assert found[False] > 0.85
    assert found[True] < MOST_FREQUENT + 0.12
