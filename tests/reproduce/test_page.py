import copy

from matplotlib.figure import Figure

from holdfast.reproduce.page import body, header, markdown, measures, page, setting, svg

RESULT = {
    "reproduction": {
        "title": "A <title>",
        "thesis": "Somebody 2020",
        "source": "Table 1",
        "published_setting": "ImageNet",
        "remarks": "",
    },
    "published_setting": False,
    "setting": "not the published setting: digits",
    "comparison": [
        {
            "line": "a|b",
            "figures": {
                "mean_queries": {"published": 73.0, "ours": 100.0, "difference": 27.0},
                "mean_queries_spread": {"published": 2.0, "ours": 3.0, "difference": 1.0},
                "failure_rate": {"published": 0.01, "ours": None, "difference": None},
            },
        }
    ],
    "claims": [{"claim": "x < y", "holds": False}],
    "rows": [],
    "not_run": {"z": "no <package>"},
}


def test_published_ours_and_difference_stand_side_by_side():
    assert measures(RESULT) == ["mean_queries", "failure_rate"]
    assert header(RESULT)[1:4] == [
        f"mean queries: {k}" for k in ("published", "ours", "difference")
    ]
    assert body(RESULT) == [["a|b", "73 ± 2", "100 ± 3", "+27", "1.0%", "–", "–"]]


def test_markdown_has_setting_claims_and_what_did_not_run():
    text = markdown(RESULT)
    assert "**Not the published setting: digits. Published: ImageNet.**" in text
    assert "| a\\|b | 73 ± 2 |" in text
    assert "- DOES NOT HOLD: x < y" in text
    assert "- not run: z" in text


def test_the_page_interprets_nothing():
    text = page(RESULT, '<?xml?><svg id="f"></svg>')
    assert "<title>A &lt;title&gt;</title>" in text
    assert "no &lt;package&gt;" in text
    assert '<svg id="f"></svg>' in text
    assert "<?xml" not in text


def test_the_published_setting_is_called_so():
    same = copy.deepcopy(RESULT) | {"published_setting": True, "setting": ""}
    assert setting(same) == "The published setting: ImageNet."


def test_figures_are_the_same_bytes():
    def draw():
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 5])
        return svg(figure)

    assert draw() == draw()
    assert "<dc:date>" not in draw()
