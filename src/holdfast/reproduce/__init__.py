"""Published tables and figures as records that run: `REPRODUCTIONS` lists them, `run` computes one
into a run directory, beside what was published.

One file per table or figure holds its setting, its rows, the published numbers with their source,
and what was claimed, which is judged at any size. Where data or networks of the published setting
are not at hand, a smaller one stands for it, and record and page say so.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Claim": ".records",
        "ComputedRow": ".computations",
        "Finding": ".records",
        "REPRODUCTIONS": ".catalogue",
        "Reproduction": ".records",
        "Row": ".records",
        "Size": ".records",
        "run": ".running",
    },
)
