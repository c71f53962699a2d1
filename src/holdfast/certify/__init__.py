"""Certificates: a model is captured once as a graph, and bounds walk over it.

`capture` makes the graph; `Interval` bounds rows of a specification (`margin_rows`) over a threat,
with rounding accounted for; `certified` reads the answer; `interval_logits` and `interval_margins`
are the same bounds for training. `BOUNDS` names what there is.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AlphaCrown": ".alpha",
        "BOUNDS": ".catalogue",
        "CROWN": ".linear",
        "Case": ".properties",
        "CrownIBP": ".linear",
        "Dual": ".linear",
        "Graph": ".graph",
        "Interval": ".interval",
        "Node": ".ops",
        "OnnxNetwork": ".onnx_reader",
        "Property": ".properties",
        "capture": ".graph",
        "certified": ".interval",
        "counterexample_text": ".vnnlib",
        "interval_logits": ".interval",
        "interval_margins": ".interval",
        "load_onnx": ".onnx_reader",
        "margin_rows": ".spec",
        "parse_vnnlib": ".vnnlib",
        "read_onnx": ".onnx_reader",
        "read_vnnlib": ".vnnlib",
    },
)
