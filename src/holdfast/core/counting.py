"""Pass counting: how many examples went forward and backward through a model."""

from dataclasses import dataclass


@dataclass
class PassCounter:
    """Totals of rows, not of calls.

    Args:
        forwards: examples forwarded.
        backwards: examples for which an input gradient was taken.
        padding: rows forwarded only to fill a block of fixed shape, counted in neither.
    """

    forwards: int = 0
    backwards: int = 0
    padding: int = 0
