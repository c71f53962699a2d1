"""The table and the page of a finished reproduction: published, ours, difference, side by side."""

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "failure_rate": "failure rate",
    "robust_accuracy": "robust accuracy",
    "fresh_accuracy": "accuracy on fresh draws",
    "clean_accuracy": "clean accuracy",
    "mean_queries": "mean queries",
    "median_queries": "median queries",
    "mean_spent": "queries with failures",
}
SPREAD = "_spread"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2630; background: #fdfdfb;
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #d5dade; text-align: right; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.setting { background: #f6e7da; padding: .6rem 1rem; }
svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""


def words(measure: str) -> str:
    """A measure as a reader knows it.

    Example:
        >>> words("mean_queries"), words("mean_margin")
        ('mean queries', 'mean margin')
    """
    return WORDS.get(measure, measure.replace("_", " "))


def shown(measure: str, value: float | None, sign: bool = False) -> str:
    """A figure of a measure; shares in per cent.

    Example:
        >>> shown("failure_rate", 0.033), shown("mean_queries", 1050.4), shown("mean_queries", None)
        ('3.3%', '1,050', '–')
    """
    if value is None:
        return "–"
    mark = "+" if sign else ""
    if measure.endswith(("rate", "accuracy")):
        return f"{value:{mark}.1%}"
    return f"{value:{mark},.0f}" if abs(value) >= 99.5 else f"{value:{mark}.3g}"


def cell(line: Mapping[str, Any], measure: str, kind: str) -> str:
    """One figure of a line of the comparison, with its spread where it has one.

    Args:
        kind: `published`, `ours` or `difference`.
    """
    figures = line["figures"]
    text = shown(measure, figures.get(measure, {}).get(kind), sign=kind == "difference")
    spread = figures.get(measure + SPREAD, {}).get(kind)
    if spread is None or kind == "difference":
        return text
    return f"{text} ± {shown(measure, spread)}"


def header(result: Mapping[str, Any]) -> list[str]:
    """The columns of the comparison: three for each measure, one where nothing was published."""
    return ["", *(f"{words(each)}: {kind}" for each, kind in _columns(result))]


def body(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells of the comparison."""
    columns = _columns(result)
    return [
        [line["line"], *(cell(line, measure, kind) for measure, kind in columns)]
        for line in result["comparison"]
    ]


def _columns(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [line["figures"] for line in result["comparison"]]
    found = []
    for measure in measures(result):
        known = any(each.get(measure, {}).get("published") is not None for each in figures)
        kinds = ("published", "ours", "difference") if known else ("ours",)
        found += [(measure, kind) for kind in kinds]
    return found


def measures(result: Mapping[str, Any]) -> list[str]:
    """The measures that some line has, in their order, without their spreads."""
    found = dict.fromkeys(m for line in result["comparison"] for m in line["figures"])
    return [each for each in found if not each.endswith(SPREAD)]


def ran(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The lines that have a figure of ours."""
    return [
        line
        for line in result["comparison"]
        if any(each["ours"] is not None for each in line["figures"].values())
    ]


def markdown(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown, with its setting and claims."""
    entry, heads = result["reproduction"], header(result)
    lines = [f"# {entry['title']}", "", f"{entry['thesis']}, {entry['source']}.", ""]
    lines += [f"**{setting(result)}**", ""]
    lines.append("| " + " | ".join(map(_plain, heads)) + " |")
    lines.append("|:---" + "|---:" * (len(heads) - 1) + "|")
    lines += ["| " + " | ".join(map(_plain, cells)) + " |" for cells in body(result)]
    lines += ["", *(f"- {verdict(each)}" for each in result["claims"])]
    lines += [f"- not run: {name} ({why})" for name, why in result["not_run"].items()]
    return "\n".join(lines) + "\n"


def setting(result: Mapping[str, Any]) -> str:
    """One sentence on how the run's setting relates to the published one."""
    if result["published_setting"]:
        return f"The published setting: {result['reproduction']['published_setting']}."
    text = result["setting"]
    published = result["reproduction"]["published_setting"]
    return f"{text[:1].upper()}{text[1:]}. Published: {published}."


def verdict(claim: Mapping[str, Any]) -> str:
    """A claim and how it came out.

    Example:
        >>> verdict({"claim": "squares need fewer queries", "holds": True})
        'holds: squares need fewer queries'
    """
    answer = {True: "holds", False: "DOES NOT HOLD", None: "not judged"}[claim["holds"]]
    return f"{answer}: {claim['claim']}"


def page(result: Mapping[str, Any], figure: str) -> str:
    """A self-contained page: title, setting, figure, comparison, claims, rows."""
    entry = result["reproduction"]
    parts = [
        f"<h1>{escape(entry['title'])}</h1>",
        f"<p>{escape(entry['thesis'])}, {escape(entry['source'])}.</p>",
        f'<p class="setting">{escape(setting(result))}</p>',
        f'<div class="scroll">{figure[figure.find("<svg") :] if figure else ""}</div>',
        _table(header(result), body(result)),
        f"<p>{escape(entry['remarks'])}</p>" if entry["remarks"] else "",
        "<h2>What is claimed, and how it came out here</h2><ul>",
        *(f"<li>{escape(verdict(each))}</li>" for each in result["claims"]),
        *(
            f"<li>not run: {escape(name)} ({escape(why)})</li>"
            for name, why in result["not_run"].items()
        ),
        "</ul><h2>Rows</h2>",
        _table(*_trainings(result)) if _has(result, "recipe") else "",
        _table(*_attacks(result)) if _has(result, "subject") else "",
        _table(*_computations(result)) if _has(result, "computes") else "",
    ]
    head = f'<meta charset="utf-8"><title>{escape(entry["title"])}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def svg(figure: "Figure") -> str:
    """The figure as an SVG file: the same bytes for the same drawing."""
    import matplotlib

    sink = io.StringIO()
    metadata: Any = {"Date": None, "Creator": None}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "holdfast"}):
        figure.savefig(sink, format="svg", metadata=metadata)
    return sink.getvalue()


def _has(result: Mapping[str, Any], key: str) -> bool:
    return any(key in row for row in result["rows"])


def _trainings(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What was trained: recipe, changes, seeds."""
    cells = [
        [
            row["row"],
            row["recipe"],
            ", ".join(f"{key} = {value}" for key, value in row["changes"].items()),
            row["after"] or "–",
            f"{row['seeds']}",
            shown("cpu_seconds", row["cpu_seconds"]),
        ]
        for row in result["rows"]
        if "recipe" in row
    ]
    return ["row", "recipe", "changes", "tuned from", "seeds", "CPU seconds"], cells


def _computations(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = [row for row in result["rows"] if "computes" in row]
    cells = [[row["row"], row["computes"], shown("", row["cpu_seconds"])] for row in rows]
    return ["row", "what is computed", "CPU seconds"], cells


def _attacks(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    heads = ["row", "subject", "threat", "images", "right", "broken", "mean queries", "median"]
    cells = [
        [
            row["row"],
            row["subject"],
            row["threat"],
            *(f"{row[each]:,}" for each in ("examples", "correct", "broken")),
            *(shown(each, row[each]) for each in ("mean_queries", "median_queries")),
        ]
        for row in result["rows"]
        if "subject" in row
    ]
    return heads, cells


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = ["".join(f"<td>{escape(each)}</td>" for each in cells) for cells in rows]
    inner = f"<tr>{top}</tr>" + "".join(f"<tr>{each}</tr>" for each in lines)
    return f'<div class="scroll"><table>{inner}</table></div>'


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|")
