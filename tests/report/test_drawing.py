import re

from holdfast.report.drawing import svg
from holdfast.report.palette import LIGHT


def _line(axes):
    axes.plot([0.123456, 2], [0.0001, 0.0002], marker="o", color=LIGHT["series-0"])
    axes.set_yticks([0.00015], ["0.00015"])
    axes.set_title("$no_math$ <b>")


def _draw(name="a", alt="A line"):
    return svg(_line, name=name, alt=alt, size=(310, 190))


def test_the_same_drawing_has_the_same_bytes():
    assert _draw() == _draw()


def test_identifiers_do_not_clash():
    one, two = (set(re.findall(r' id="([^"]*)"', _draw(name))) for name in ("a", "b"))
    assert one
    assert not one & two
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', _draw()))
    assert used == one


def test_colours_follow_the_page_and_nothing_is_loaded():
    drawn = _draw()
    assert "var(--series-0)" in drawn
    assert not any(colour in drawn for colour in LIGHT.values())
    assert "http" not in drawn
    assert "font-family" not in drawn
    assert "<style" not in drawn


def test_text_stays_text_unrounded_and_escaped():
    drawn = _draw(alt='say "<x>"')
    assert 'role="img" aria-label="say &quot;&lt;x&gt;&quot;"' in drawn
    assert "$no_math$ &lt;b&gt;" in drawn
    assert ">0.00015<" in drawn
    assert not re.search(r'="[^"]*\d\.\d{3}', drawn)


def test_room_on_the_right_narrows_the_axes():
    narrow = svg(_line, name="a", alt="A line", size=(310, 190), right=50)
    assert 'viewBox="0 0 310 190"' in narrow
    ends = [max(map(float, re.findall(r"M 56 [\d.]+ L ([\d.]+)", d))) for d in (_draw(), narrow)]
    assert ends == [298, 260]
