"""Pages, figures and tables from run directories, and nothing else: `write_report` makes one
self-contained page of a run or of several side by side, `summary`, `radii`, `per_class`, `attacks`
and `stages` make tables that print as text, Markdown, LaTeX or CSV. `holdfast.report.quickstart`
trains and evaluates three models on the embedded digits and writes their page; its function is
imported from there, since the module would shadow it here.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Column": ".tables",
        "Drawing": ".drawing",
        "Record": ".records",
        "Table": ".tables",
        "attacks": ".tables",
        "claim": ".wording",
        "decision_plot": ".plane",
        "flag_lines": ".flags",
        "maps_figure": ".bounding_maps",
        "per_class": ".tables",
        "polytope_plot": ".polytopes",
        "radii": ".tables",
        "radius_profile": ".certified_radii",
        "read_record": ".records",
        "render": ".page",
        "stages": ".tables",
        "summary": ".tables",
        "trust": ".flags",
        "write_report": ".page",
    },
)
