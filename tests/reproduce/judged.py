"""What every entry whose rows are trained is checked for."""

from holdfast.reproduce.trainings import TrainedRow


def holds(entry, lines=None):
    """The claims' answers on the published figures, or on other lines."""
    lines = entry.published if lines is None else lines
    return [
        claim.judge({name: dict(line) for name, line in lines.items()}) for claim in entry.claims
    ]


def mirrored(entry, top=1.0):
    """The published lines with every figure v as top - v, which turns all orderings round."""
    return {
        name: {measure: top - value for measure, value in line.items()}
        for name, line in entry.published.items()
    }


def builds(entry, store):
    """The recipes of all trained rows of all sizes, by size and row."""
    return {
        (size.name, row.name): row.build(0, store)
        for size in entry.sizes
        for row in entry.rows(size)
        if isinstance(row, TrainedRow)
    }
