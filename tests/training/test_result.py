import json

import pytest

from holdfast.training.result import TrainingResult
from training.tiny import network


def result(best, final):
    return TrainingResult(
        model=network(),
        history=({"epoch": 1, "loss": 0.5},),
        best=best,
        final=final,
        chosen_epoch=1,
        selected_on="validation",
        seconds=1.0,
        steps=3,
        forwards=6,
        backwards=6,
        batch_norm="none",
        warnings=(),
        checkpoint=None,
    )


def test_the_gap_is_best_less_final():
    best = {"epoch": 1, "clean": 0.9, "robust": 0.5}
    found = result(best, best | {"epoch": 4, "robust": 0.46})
    assert found.gap == pytest.approx(0.04)
    assert result(None, None).gap is None
    assert result(best | {"robust": None}, best | {"robust": None}).gap is None


def test_its_record_is_plain():
    record = result(
        {"epoch": 1, "clean": 0.9, "robust": 0.5}, {"epoch": 1, "clean": 0.9, "robust": 0.5}
    ).record()
    assert json.loads(json.dumps(record)) == record
    assert "model" not in record
