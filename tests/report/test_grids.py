import base64

from holdfast.report.grids import data_uri, grid
from holdfast.report.tables import Column, Table

COLUMNS = (Column("name"), Column("share", "share"), Column("95%", "interval"))


def test_cells_are_sorted_by_unrounded_values():
    found = grid(Table(COLUMNS, (("a", 0.12345678, [0.1, 0.2]), ("b", None, None))), "t")
    (name, share, interval), (_, absent, _) = found.rows
    assert (name.text, name.share) == ("a", None)
    assert (share.text, float(share.key), share.share) == ("12.3%", 0.12345678, 0.12345678)
    assert (interval.text, float(interval.key)) == ("10.0% to 20.0%", 0.1)
    assert (absent.text, absent.share) == ("–", None)
    assert found.heads == (("name", False), ("share", True), ("95%", True))


def test_the_link_holds_the_data():
    text = "a,b\nü,1\n"
    head, _, data = data_uri(text).partition(";base64,")
    assert head == "data:text/csv;charset=utf-8"
    assert base64.b64decode(data).decode() == text
