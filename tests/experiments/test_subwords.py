"""SNXVAE from text to predictions, and PEMB from pairs to another run's embeddings, small."""

import json

import numpy as np
import pytest

from jaxsdgm import export
from jaxsdgm.data.sources import load_pretraining
from jaxsdgm.data.subwords import MODEL, SentencePieceTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, pretrain
from jaxsdgm.experiments.inputs import load_inputs
from jaxsdgm.experiments.sentences import in_pieces, median_limit
from jaxsdgm.experiments.systems import build, make_initialise, targets_of, transfer
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.weights.word_vectors import read_vectors
from tests.experiments import tiny_pretrain


@pytest.fixture(scope="module")
def snxvae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snxvae")
    pretrain.run(tiny_pretrain.snxvae(), folder)
    return folder


@pytest.fixture(scope="module")
def pemb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pemb")
    pretrain.run(tiny_pretrain.pemb(), folder)
    return folder


def tokenizers(folder):
    return {c: SentencePieceTokenizer.load(folder / "tokenizer", c) for c in ("en", "de")}


def test_snxvae_has_one_vocabulary_table_and_decoder(snxvae):
    params = load_pretrained(snxvae)[0]["params"]
    assert params["encoder"].keys() == {"embeddings_shared", "lstm"}
    assert params["encoder"]["embeddings_shared"]["table"].shape == (201, 8)
    assert params.keys() == {"encoder", "posterior", "decoders_shared", "discriminator"}
    results = json.loads((snxvae / "results.json").read_text())
    assert results["languages"] == ["en", "de"]
    assert {"reconstruction/en", "reconstruction/de", "discriminator/de"} <= results["metrics"][
        "dev"
    ].keys()
    assert results["latents"]["mutual_information"].keys() == {"z1"}
    assert "Mutual information of dev sentences" in (snxvae / "report.html").read_text()
    rows = results["tables"]["neighbours"]
    assert rows
    assert {row["language"] for row in rows} == {"shared"}
    assert all(row["neighbours"].keys() == {"shared"} for row in rows)


def test_sentences_are_cut_at_the_median_of_their_pieces(snxvae):
    texts = load_pretraining(tiny_pretrain.snxvae().data, snxvae / "text")
    medians = []
    for language, tokenizer in tokenizers(snxvae).items():
        lines = [*texts[language].lines("train")]
        medians.append(int(np.median([len(row) for row in tokenizer.rows(lines)])))
        assert np.mean([len(line) for line in lines]) < medians[-1]
    assert median_limit(in_pieces(texts, tokenizers(snxvae))) == max(medians)


@pytest.mark.slow
def test_a_classifier_starts_from_snxvae(snxvae, tmp_path):
    config = tiny_pretrain.classification("nxvae_z1")
    config.pretrained = str(snxvae)
    results = classify.run(config, tmp_path)
    assert results["encoder"]["name"] == "SNXVAE"
    assert results["languages"] == ["en", "de"]
    function, names = load_trained(tmp_path)
    np.testing.assert_allclose(function(["ba ko mi", ""]).sum(1), 1, rtol=1e-5)
    assert len(names) == 4
    assert (tmp_path / "tokenizer" / MODEL).read_bytes() == (
        snxvae / "tokenizer" / MODEL
    ).read_bytes()


@pytest.mark.parametrize("selected", [0, 3])
def test_what_m1m2_takes_over_of_snxvae(snxvae, selected):
    """The decoder's table too; of both table and biases the selected targets where there are."""
    config = tiny_pretrain.classification("bow")
    config.pretrained, config.data.targets.min_documents = str(snxvae), selected
    inputs = load_inputs(config)
    model = build(config, inputs, Parallel())
    variables = transfer(make_initialise(model, inputs)(0), inputs.pretrained, targets_of(inputs))
    theirs = load_pretrained(snxvae)[0]["params"]
    rows = inputs.targets.ids if inputs.targets else np.arange(201)
    table, params = theirs["encoder"]["embeddings_shared"]["table"], variables["params"]
    np.testing.assert_array_equal(params["encoder"]["embeddings_shared"]["table"], table)
    np.testing.assert_array_equal(params["decoder_tables_shared"]["table"], table[rows])
    bias = theirs["decoders_shared"]["bias"]
    np.testing.assert_array_equal(params["decoders_shared"]["bias"], bias[rows])


@pytest.mark.parametrize("as_wide", [True, False])
def test_what_a_gru_takes_over_of_snxvae(snxvae, as_wide):
    """Its output layer too, where it is as wide as the embeddings."""
    config = tiny_pretrain.classification("gru")
    config.pretrained = str(snxvae)
    config.model.gru.hidden = config.model.embedding if as_wide else 5
    inputs = load_inputs(config)
    model = build(config, inputs, Parallel())
    variables = make_initialise(model, inputs)(0)
    decoder = transfer(variables, inputs.pretrained, {})["params"]["decoders_shared"]
    theirs = load_pretrained(snxvae)[0]["params"]
    table, own = theirs["encoder"]["embeddings_shared"]["table"], variables["params"]
    np.testing.assert_array_equal(decoder["bias"], theirs["decoders_shared"]["bias"])
    kernel = table.T if as_wide else own["decoders_shared"]["kernel"]
    np.testing.assert_array_equal(decoder["kernel"], kernel)


def test_embeddings_of_subwords_as_a_file(snxvae, tmp_path):
    export.export_embeddings(snxvae, "de", tmp_path / "de.vec")
    found = read_vectors(tmp_path / "de.vec")
    assert found.words == SentencePieceTokenizer.load(snxvae / "tokenizer", "de").words[4:]
    with pytest.raises(UserError, match=r"no embeddings of 'fr'; the run has these: de, en"):
        export.export_embeddings(snxvae, "fr", tmp_path / "fr.vec")


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_model_file_that_is_not_the_one_of_pretraining(snxvae, tmp_path, damage):
    (tmp_path / "checkpoints").symlink_to(snxvae / "checkpoints")
    for tokenizer in tokenizers(snxvae).values():
        tokenizer.save(tmp_path / "tokenizer")
    model, match = tmp_path / "tokenizer" / MODEL, r"subwords\.model: damaged or another"
    if damage == "missing":
        model.unlink()
        match = r"subwords\.model: missing"
    elif damage == "cut":
        model.write_bytes(model.read_bytes()[:-9])
    else:  # whole, but of another training
        match = "vocabulary is not the one that the checkpoint was trained with"
        for language, tokenizer in tokenizers(snxvae).items():
            SentencePieceTokenizer(language, "lower", tokenizer.model).save(model.parent)
    config = tiny_pretrain.classification("nxvae_z1")
    config.pretrained = str(tmp_path)
    with pytest.raises(UserError, match=match) as caught:
        load_inputs(config)
    assert "\n" not in str(caught.value)


def test_pemb_gives_embeddings_to_another_run(pemb, tmp_path):
    results = json.loads((pemb / "results.json").read_text())
    assert results["languages"] == ["en", "de"]
    assert "reconstruction/en-de" in results["metrics"]["dev"]
    assert results["tables"]["neighbours"][0]["neighbours"].keys() == {"en", "de"}
    path = tmp_path / "pemb.de.vec"
    export.export_embeddings(pemb, "de", path)
    config = tiny_pretrain.classification("vectors")
    config.vectors = str(path)
    vectors = load_inputs(config).vectors
    assert vectors.name == "pemb.de"
    assert vectors.coverage["token_share"] > 0.3


def test_pemb_reads_no_single_documents(pemb):
    config = tiny_pretrain.classification("nxvae_z1")
    config.pretrained = str(pemb)
    with pytest.raises(UserError, match="reads sentence pairs, no documents; export"):
        load_inputs(config)


def test_pairs_with_documents_or_a_discriminator(tmp_path):
    for field, value in (("data.documents_per_step", 4), ("model.adversary", "separate")):
        config = tiny_pretrain.pemb()
        config.update_from_flattened_dict({field: value})
        with pytest.raises(UserError, match=r"documents_per_step=0 and config\.model\.adversary"):
            pretrain.run(config, tmp_path)
    config = tiny_pretrain.snxvae()
    config.data.subwords = 90_000
    with pytest.raises(UserError, match=r"config\.data\.subwords=90000 cannot be made"):
        pretrain.run(config, tmp_path)
