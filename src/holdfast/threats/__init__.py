"""Threats: what may happen to an input, and the operations that the verbs of the library need.

The norm balls `Linf`, `L2` and `L1` intersected with a box, their text form (`parse`, `as_threat`),
the protocol `Threat` that methods ask for, and the catalogue `THREATS` of what users can name.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Linf": ".balls",
        "L2": ".balls",
        "L1": ".balls",
        "Threat": ".protocol",
        "THREATS": ".catalogue",
        "as_threat": ".text",
        "parse": ".text",
    },
)
