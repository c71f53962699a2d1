"""From a template to a page that needs nothing from outside.

Names that a page shows are escaped; styles, colours and the one script stand in the page, and a
content security policy forbids everything else.
"""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast
from holdfast.report import wording
from holdfast.report.grids import data_uri
from holdfast.report.palette import DARK, LIGHT, variables
from holdfast.runs import atomic
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run

_TEMPLATES = Path(__file__).parent / "templates"


def fill(template: str, **values: Any) -> str:
    """A page as text.

    Args:
        template: its file in the folder of templates.
        values: what it shows.

    Guarantee: the same values give the same text.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_file(name) for name in ("sort.js", "style.css"))
    environment.globals |= {
        "style": style,
        "light": variables(LIGHT),
        "dark": variables(DARK),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data_uri": data_uri,
        "percent": wording.percent,
        "version": holdfast.__version__,
    }
    return environment.get_template(template).render(**values) + "\n"


def fill_run(
    run: Run | Pathlike, path: Pathlike | None, template: str, page: Callable[[Run], Any]
) -> Path:
    """Writes the page of a run.

    Args:
        path: the file; by default `report.html` in the run.
        template: its file in the folder of templates.
        page: what it shows of the run.

    Returns:
        The file.

    Guarantee: the same run gives the same bytes; the file appears whole or not at all.
    Raises:
        InputError: no run directory, or one without a result.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    target = Path(opened.report_file if path is None else path)
    atomic.write_text(target, fill(template, page=page(opened)))
    return target


def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip()
