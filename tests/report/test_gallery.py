import base64
import io

import numpy
import pytest
from PIL import Image

from holdfast.report.gallery import MOST_CARDS, gallery


def _arrays(clean, adversarial, **others):
    rows = len(clean)
    return {
        "clean": clean,
        "adversarial": adversarial,
        "label": numpy.arange(rows),
        "prediction": numpy.arange(rows),
        "adversarial_prediction": numpy.arange(rows) + 1,
        "confidence": numpy.full(rows, 0.98),
        "adversarial_confidence": numpy.full(rows, 0.71),
        "size": numpy.full(rows, 0.25),
        "index": numpy.arange(rows) + 1000,
        **others,
    }


def _pixels(uri):
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return numpy.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def grey():
    clean = numpy.full((2, 1, 3, 5), 0.5, numpy.float32)
    adversarial = clean.copy()
    adversarial[0, 0, 0, 0] += 0.25
    adversarial[0, 0, 0, 1] -= 0.25
    adversarial[1, 0, 2, 4] += 0.125
    return clean, adversarial


def test_pictures_show_the_inputs_and_the_signed_change(grey):
    found = gallery(_arrays(*grey), ["ant", "bee"])
    first, second = found.cards
    assert _pixels(first.clean).tolist() == numpy.full((3, 5, 3), 128).tolist()
    assert _pixels(first.adversarial)[0, 0].tolist() == [191, 191, 191]
    change = _pixels(first.change)
    assert change[0, 0].tolist() == [176, 69, 8]
    assert change[0, 1].tolist() == [10, 95, 163]
    assert change[1, 1].tolist() == [255, 255, 255]
    half = _pixels(second.change)[2, 4].astype(int)
    assert abs(half - [215, 162, 131]).max() <= 1
    assert "magnified 4 times" in found.note
    assert "change of 0.25" in found.note


def test_three_channels_are_grey_plus_the_change():
    clean = numpy.full((1, 3, 2, 2), 0.5)
    adversarial = clean.copy()
    adversarial[0, 0, 0, 0] += 0.1
    adversarial[0, 2, 1, 1] -= 0.05
    found = gallery(_arrays(clean, adversarial))
    change = _pixels(found.cards[0].change).astype(int)
    assert change[0, 0].tolist() == [255, 128, 128]
    assert abs(change[1, 1] - [128, 128, 64]).max() <= 1
    assert "magnified 5 times" in found.note


def test_the_words_of_a_card(grey):
    stays = numpy.array([0, 2])
    arrays = _arrays(*grey, adversarial_prediction=stays, prediction=numpy.array([0, 0]))
    one, two = gallery(arrays, ["ant", "<bee>"]).cards
    assert (one.verdict, one.verb) == ("stands", "stays")
    assert (two.verdict, two.verb, two.label) == ("misclassified", "becomes", "<bee>")
    assert two.after == "2\u00a0(71%)"
    assert (two.index, two.size) == ("1001", "0.25")
    broken = gallery(_arrays(*grey), ["ant", "bee"]).cards[0]
    assert broken.verdict == "broken"
    assert broken.alt == "Example 1000, labelled ant: ant\u00a0(98%) becomes bee\u00a0(71%)"


def test_other_boxes_are_shown_in_full_and_said(grey):
    clean, adversarial = grey
    found = gallery(_arrays(clean * 4 - 2, adversarial * 4 - 2))
    assert "Inputs are shown from -1 to 1." in found.note
    assert _pixels(found.cards[0].adversarial)[0, 0].tolist() == [255, 255, 255]


def test_unperturbed_rows_are_left_out(grey):
    clean, adversarial = grey
    adversarial[0] = numpy.nan
    (card,) = gallery(_arrays(clean, adversarial)).cards
    assert card.index == "1001"
    adversarial[:] = numpy.nan
    nothing = gallery(_arrays(clean, adversarial))
    assert not nothing.cards
    assert "No pictures" in nothing.note


def test_tables_and_odd_files_are_skipped_with_a_line():
    flat = numpy.zeros((2, 7))
    assert "no images (7 features)" in gallery(_arrays(flat, flat)).note
    assert "no pairs" in gallery({"clean": flat}).note
    assert gallery(None) is None
    bare = numpy.zeros((1, 1, 2, 2))
    (card,) = gallery({"clean": bare, "adversarial": bare}).cards
    assert card.before == "–\u00a0(–)"


def test_at_most_so_many_cards():
    clean = numpy.zeros((MOST_CARDS + 5, 1, 2, 3))
    assert len(gallery(_arrays(clean, clean + 0.1)).cards) == MOST_CARDS
