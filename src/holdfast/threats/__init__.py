"""Threats: what may happen to an input, and the operations that the verbs of the library need.

The norm balls `Linf`, `L2`, `L1` and `L0` intersected with a box, the transformations `Spatial`,
distributions of additive noise, their text form (`parse`, `as_threat`), the protocol `Threat` that
methods ask for, and the catalogue `THREATS` of what users can name.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Linf": ".balls",
        "L2": ".balls",
        "L1": ".balls",
        "L0": ".l0",
        "Spatial": ".spatial",
        "Gaussian": ".noise",
        "UniformLinf": ".noise",
        "UniformL2": ".noise",
        "SaltAndPepper": ".noise",
        "Threat": ".protocol",
        "THREATS": ".catalogue",
        "as_threat": ".text",
        "parse": ".text",
    },
)
