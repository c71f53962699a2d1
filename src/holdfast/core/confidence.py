"""Exact confidence intervals for a share.

Source: Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case
    of the binomial.
"""

from holdfast.core.errors import InputError


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided confidence interval (low, high) of a binomial share.

    Args:
        successes: how many of the trials succeeded, 0 to n.
        n: trials, at least 1.
        level: the least probability, whatever the true share, that the interval holds it; in
            (0, 1).

    Guarantee: covers the true share with probability at least `level`; conservative.

    Raises:
        InputError: no trials, successes outside 0..n, a level outside (0, 1).

    Example:
        >>> low, high = clopper_pearson(0, 10)
        >>> low, round(high, 4)
        (0.0, 0.3085)
    """
    if n < 1:
        raise InputError("n", n, "is no number of trials", "give at least 1")
    if not 0 <= successes <= n:
        raise InputError("successes", successes, f"is not in 0..{n}", "count successes among n")
    if not 0 < level < 1:
        raise InputError("level", level, "is not in (0, 1)", "give a share such as 0.95")
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high
