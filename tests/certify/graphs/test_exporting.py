import logging

import pytest
import torch
from torch import nn

from certify.nets import Function
from holdfast.certify import capture
from holdfast.certify.graphs.exporting import export
from holdfast.core.errors import CaptureError

REFUSED = {
    "branch on data": (lambda x: x if x.sum() > 0 else -x, "branches on the values"),
    "branch on the batch size": (lambda x: x if x.shape[0] < 10 else -x, "2 to 9 rows"),
    "error": (lambda x: x @ torch.ones(5, 5), "Function cannot be captured: RuntimeError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_traced_is_said_in_one_line_and_nothing_is_printed(case, capfd):
    function, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message) as caught:
        capture(Function(function), (6,))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


LOGGERS = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")


@pytest.mark.parametrize("name", LOGGERS)
def test_no_log_is_written_by_a_model_that_fails(name):
    records, logger = [], logging.getLogger(name)
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    try:
        with pytest.raises(CaptureError):
            capture(nn.Linear(5, 3), (6,))
    finally:
        logger.removeHandler(handler)
    assert records == []
    assert not logger.disabled


def test_the_batch_axis_stays_free_and_the_log_is_given_back():
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    program = export(Function(torch.relu), torch.zeros(2, 6))
    (sizes,) = program.range_constraints.values()
    assert sizes.lower == 2
    assert sizes.upper > 2**40
    assert [logger.disabled for logger in loggers] == before
