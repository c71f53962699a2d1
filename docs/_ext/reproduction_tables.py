"""What came of published tables and figures, from the results in `benchmarks/results/reproduce`.

```{reproduced}
```
"""

import json
from pathlib import Path
from typing import Any

from catalogue_tables import table
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from holdfast.reproduce.catalogue import REPRODUCTIONS
from holdfast.reproduce.page import body, header, setting, verdict

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "reproduce"


def setup(app: Any) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("reproduced", Reproduced)
    return {"parallel_read_safe": True}


class Reproduced(SphinxDirective):
    """A section for each result: its setting, published figures beside ours, and the claims."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of the catalogue."""
        found: list[nodes.Node] = []
        for name in REPRODUCTIONS:
            path = RESULTS / f"{name}.json"
            if path.is_file():
                self.env.note_dependency(str(path))
                found.append(section(json.loads(path.read_text(encoding="utf-8"))))
        return found


def section(result: dict[str, Any]) -> nodes.section:
    """What one result says."""
    entry = result["reproduction"]
    part = nodes.section(ids=[f"reproduced-{entry['id']}"], names=[entry["id"]])
    part += nodes.title(text=entry["title"])
    part += nodes.paragraph(text=f"{entry['thesis']}, {entry['source']}. {setting(result)}")
    part += table(header(result), body(result))
    claims = [nodes.list_item("", nodes.paragraph(text=verdict(c))) for c in result["claims"]]
    claims += [
        nodes.list_item("", nodes.paragraph(text=f"not run: {name} ({why})"))
        for name, why in result["not_run"].items()
    ]
    if claims:
        part += nodes.bullet_list("", *claims)
    return part
