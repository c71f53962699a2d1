import re

import numpy as np
import pytest

from holdfast.core.errors import InputError
from holdfast.report.page import write_report
from holdfast.report.radii_page import claim, write_radii
from holdfast.runs.directory import Run

RESULT = {
    "verb": "radius",
    "model": "<b>net",
    "data": "digits",
    "threat": "linf:0.5",
    "method": "crown",
    "search": "Secant()",
    "examples": 3,
    "clean_accuracy": 2 / 3,
    "sound": True,
    "mean_radius": 0.1,
    "median_radius": 0.1,
    "largest_radius": 0.2,
    "reach": 0.5,
    "evaluations": 6.5,
    "curve": [{"radius": 0.1, "certified_accuracy": 2 / 3}],
    "warnings": ["take care"],
}


@pytest.fixture
def run(tmp_path):
    run = Run.create("radius", "net", "digits", path=tmp_path / "run")
    run.write_examples(
        {
            "index": np.arange(3),
            "y": np.array([4, 5, 6]),
            "correct": np.array([False, True, True]),
            "radius": np.array([0.0, 0.2, 0.1]),
            "ceiling": np.array([np.inf, 0.2001, 0.1001]),
            "evaluations": np.array([0, 6, 7]),
        }
    )
    run.write_result(RESULT)
    return run


def test_the_page_shows_the_answer_every_example_and_doubt(run):
    text = write_radii(run).read_text()
    assert "Half of the 3 examples are proved robust at least up to a radius of 0.1." in text
    assert "&lt;b&gt;net" in text
    assert "<b>net" not in text
    assert "take care" in text
    assert "0.2001" in text
    assert text.count("<figure>") == 1
    assert not re.search(r'(?:src|href)="https?:', text)
    assert text == write_radii(run).read_text()


def test_the_report_of_such_a_run_is_this_page(run, tmp_path):
    assert write_report(run).read_text() == write_radii(run, tmp_path / "x.html").read_text()
    with pytest.raises(InputError, match="a run of radius among others"):
        write_report([run, run])


def test_bounds_in_float32_are_not_called_proofs():
    assert "if rounding did no harm" in claim({**RESULT, "sound": False})
