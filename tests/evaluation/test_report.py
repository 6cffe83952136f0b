"""The pages: whole, escaped, self-contained, and forgiving of what a run did not measure."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.figures import tsne_scatter
from jaxsdgm.evaluation.report import comparison_rows, read_metrics, write_comparison, write_report

LABELS = ["CCAT", "ECAT", "GCAT", "MCAT"]
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects addresses, headings and text, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "srcset") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def fake_results(*, seed: int = 0, name: str = "M1+M2+BOW") -> dict:
    rng = np.random.default_rng(seed)

    def split(n: int, skill: float) -> dict:
        labels = np.arange(n) % 4
        logits = rng.normal(size=(n, 4)) + skill * np.eye(4)[labels]
        weights = np.exp(logits)
        return classification_report(weights / weights.sum(1, keepdims=True), labels, LABELS)

    elbo = {"reconstruction": 441.27, "kl_z1": 12.5, "kl_z2": 0.043, "kl_y": 0.9}
    return {
        "kind": "classify",
        "name": name,
        "config": {"seed": seed, "data": {"dir": "mldoc", "n_labels": 32}, "model": {"alpha": 6.0}},
        "versions": {"jax": "0.10.2", "python": "3.11.2"},
        "device": "cpu (2 cores)",
        "seed": seed,
        "language": "en",
        "languages": ["en", "de"],
        "label_names": LABELS,
        "data": {
            "source": "debian",
            "counts": {
                "train": [8, 8, 8, 8],
                "dev": [100] * 4,
                "test": [500] * 4,
                "unlabelled": 968,
            },
            "warnings": ["english.train.1000: 4 documents are empty."],
        },
        "subset": {"n": 32, "seed": 0, "rule": "stratified", "indices": list(range(0, 960, 30))},
        "metrics": {"train": split(32, 9.0), "dev": split(400, 2.5), "test": split(2000, 2.4)},
        "elbo": {"dev": elbo, "test": elbo},
        "latents": {"active_units": {"z1": 12, "z2": 0}, "size": {"z1": 64, "z2": 64}},
        "training": {
            "steps": 3000,
            "best_step": 1800,
            "seconds": 754.3,
            "examples_per_second": 1234.5,
            "compile_seconds": 11.2,
            "stopped": "patience",
        },
        "parameters": 38471428,
        "warnings": ["The posterior of z2 has collapsed: none of its 64 units is active."],
        "tables": {
            "neighbours": [
                {
                    "query": "image",
                    "language": "en",
                    "neighbours": {
                        "en": [("picture", 0.81), ("images", 0.74), ("photo", 0.6)],
                        "de": [("bild", 0.77), ("bilder", 0.7), ("grafik", 0.52)],
                    },
                },
                {"query": "imgae", "language": "en", "neighbours": {}},
            ],
            "generated": [
                {
                    "title": "z2 drawn from its prior",
                    "rows": [
                        {"label": label, "words": ["<UNK>", "<script>alert(1)</script>", "bank"]}
                        for label in LABELS
                    ],
                }
            ],
        },
    }


def write_metrics(workdir, *, steps: int = 30) -> None:
    rows = [
        {
            "step": 100 * i,
            "seconds": 25.0 * i,
            "train/loss": 500 + 200 * np.exp(-i / 5),
            "train/labelled/reconstruction": 440 + 180 * np.exp(-i / 6),
            "train/unlabelled/reconstruction": 445 + 180 * np.exp(-i / 6),
            "train/labelled/kl_z1": 12 - 11 * np.exp(-i / 9),
            "train/unlabelled/kl_z2": 2 * np.exp(-i / 3),
            "train/unlabelled/kl_y": 0.9 - 0.8 * np.exp(-i / 9),
            "train/labelled/classification": 1.4 * np.exp(-i / 4),
            "dev/accuracy": 0.8 - 0.55 * np.exp(-i / 7),
            "dev/nll": 0.6 + 0.8 * np.exp(-i / 7),
        }
        for i in range(1, steps + 1)
    ]
    lines = [json.dumps(row) for row in rows]
    (workdir / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 3100, "trai', "utf-8")


def test_the_whole_report(tmp_path):
    results = fake_results()
    write_metrics(tmp_path)
    points = np.random.default_rng(0).normal(size=(40, 3)) + 4 * (np.arange(40) % 4)[:, None]
    tsne = tsne_scatter(points, np.arange(40) % 4, LABELS)
    path = write_report(tmp_path, results, figures={"tsne": tsne, "absent": None})
    assert path == tmp_path / "report.html"
    text = path.read_text("utf-8")
    page = Page(text)
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "http:" not in text
    assert "https:" not in text
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text  # shown as text
    accuracy = f"{100 * results['metrics']['test']['accuracy']:.1f}%"
    for expected in (
        accuracy,
        "12 min 34 s",
        "38,471,428",
        "1,234",
        "441.3",
        "0.043",
        "cpu (2 cores)",
    ):
        assert expected in page.text
    for expected in ("z2 has collapsed", "4 documents are empty", "picture 0.81", "KL of z1"):
        assert expected in page.text
    assert "not in the vocabulary" in page.text
    assert "model.alpha" in page.text
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"training_curves.svg", "confusion.svg", "tsne.png"}


def test_a_report_needs_only_kind_and_name(tmp_path):
    page = Page(write_report(tmp_path, {"kind": "classify", "name": "a < b"}).read_text("utf-8"))
    assert "a < b" in page.text
    assert page.addresses == []


@pytest.mark.parametrize("key", sorted(fake_results().keys() - {"kind", "name"}))
def test_any_key_may_be_missing(tmp_path, key):
    results = fake_results()
    del results[key]
    Page(write_report(tmp_path, results).read_text("utf-8"))


def test_a_pretraining_report(tmp_path):
    metrics = {"dev": {"reconstruction": 321.4, "kl": 7.125}}
    results = {"kind": "pretrain", "name": "NXVAE", "languages": ["en", "de"], "metrics": metrics}
    page = Page(write_report(tmp_path, results).read_text("utf-8"))
    for expected in ("Pretraining", "en, de", "321.4", "dev reconstruction", "7.12"):
        assert expected in page.text
    assert "accuracy" not in page.text


def test_without_a_test_split_the_dev_split_is_shown(tmp_path):
    results = fake_results()
    del results["metrics"]["test"]
    page = Page(write_report(tmp_path, results).read_text("utf-8"))
    assert "dev accuracy" in page.text
    assert "test accuracy" not in page.text


def test_metrics_of_a_run_that_was_killed_and_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_bytes(
        b'{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 3, "a": \xc3\n'
        b'{"step": 2, "a": 5}\n{"step": 2, "b": 6}\n\n[1]\n{"step": 3, "a": 7}\n{"st'
    )
    assert read_metrics(path) == [
        {"step": 1, "a": 1},
        {"step": 2, "a": 5, "b": 6},
        {"step": 3, "a": 7},
    ]


def test_runs_of_one_name_are_averaged():
    runs = [
        {"name": "A", "metrics": {"test": {"accuracy": 0.5}}, "training": {"seconds": 10}},
        {"name": "B"},
        {"name": "A", "metrics": {"test": {"accuracy": 0.7}}, "training": {"seconds": 20}},
    ]
    first, second = comparison_rows(runs)
    assert first["test_accuracy"] == {"mean": pytest.approx(0.6), "std": pytest.approx(0.1)}
    assert (first["name"], first["runs"], first["seconds"]) == ("A", 2, 15.0)
    assert second["test_accuracy"] is second["seconds"] is None


def test_the_comparison(tmp_path):
    runs = [fake_results(seed=seed) for seed in range(3)]
    runs += [fake_results(name="NXVAE-z1"), {"name": "<naive> Bayes"}]
    runs[0]["config"] = {"data": {"source": "generated"}}
    path = write_comparison(
        tmp_path,
        runs,
        title="32 labels",
        warnings=["apt could not fetch the Debian descriptions."],
        links={"NXVAE-z1": "twin/report.html"},
    )
    page = Page(path.read_text("utf-8"))
    assert "<naive> Bayes" in page.text
    assert page.addresses[0] == "twin/report.html"
    assert page.addresses[1].startswith("data:image/svg+xml;base64,")
    assert page.text.index("apt could not fetch") < page.text.index("invented by a generator")
    assert "M1+M2+BOW: The posterior of z2 has collapsed" in page.text
    assert page.text.count("4 documents are empty") == 1
