import pytest

from holdfast.report.filling import fill


def test_a_missing_value_is_an_error():
    import jinja2

    with pytest.raises(jinja2.UndefinedError):
        fill("verification.html")
