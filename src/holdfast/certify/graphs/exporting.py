"""A module as a program of ATen operations, by `torch.export`.

The example has two rows (a batch of one would be frozen in silence) and a dynamic batch axis; the
program is left undecomposed, so that a convolution is one operation.

Source: `torch.export` of PyTorch 2.11 and newer, training form.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from holdfast.core.errors import CaptureError, shorten

_TALKATIVE = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")


def export(model: nn.Module, example: Tensor) -> ExportedProgram:
    """The exported program of a module in evaluation mode, for an example (2, *E).

    Raises:
        CaptureError: the module branches on data or on the batch size, or cannot be traced.
    """
    dynamic = ({0: torch.export.Dim.AUTO},)
    try:
        with _quiet():
            program = torch.export.export(model, (example,), dynamic_shapes=dynamic)
    except Exception as cause:
        raise CaptureError(
            f"{type(model).__name__} cannot be captured: {_reason(cause)}"
        ) from cause
    for sizes in program.range_constraints.values():
        if sizes.lower > 2 or not sizes.upper > 2**40:
            raise CaptureError(
                f"{type(model).__name__} cannot be captured: it branches on the batch size "
                f"(traced for {sizes.lower} to {sizes.upper} rows); treat each row alike"
            )
    return program


def _reason(cause: Exception) -> str:
    if type(cause).__name__.startswith("GuardOnDataDependent"):
        return "it branches on the values of its input; write it without a Python branch on data"
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {shorten(lines[0])}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps away the tracer's log, warnings and program listings; its errors are raised by us."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
