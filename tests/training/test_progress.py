"""metrics.jsonl survives a killed writer; times read well."""

import json
import logging

import pytest

from jaxsdgm.training import progress
from jaxsdgm.training.progress import MetricsWriter, Progress, duration, read_metrics


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_rows_come_back(tmp_path):
    writer = MetricsWriter(tmp_path, resume_step=0)
    for step in (2, 4):
        writer.write({"step": step, "loss": 1 / step})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 2, "loss": 0.5},
        {"step": 4, "loss": 0.25},
    ]
    assert read_metrics(tmp_path / "absent.jsonl") == []


def test_resuming_forgets_what_is_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step}) for step in (2, 4, 6)]
    path.write_text("\n".join(lines) + '\n{"step": 8, "lo')  # killed in the middle of a line
    writer = MetricsWriter(tmp_path, resume_step=4)
    writer.write({"step": 6, "again": True})
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n{"step": 6, "again": true}\n'


def test_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboardX")
    MetricsWriter(tmp_path, resume_step=0, tensorboard=True).write({"step": 2, "loss": 0.5})
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_line_now_and_then(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.log, "propagate", True)
    caplog.set_level(logging.INFO, "jaxsdgm")
    line = Progress("fit", 100, seconds=5)
    for step in (10, 20, 30):  # the first says nothing of the rest; 4 s later is too soon
        line.report(step, 1234.5, "loss 1")
        now[0] += 4
    line.report(100, 1234.5, "loss 0.5")  # the last is always said
    first, second, last = [record.getMessage() for record in caplog.records]
    assert first == "fit: step 10/100 | loss 1 | 1,234 documents/s"
    assert second.endswith("at most 28 s left")  # 20 steps in 8 s, 70 to go
    assert last.startswith("fit: step 100/100 | loss 0.5")
