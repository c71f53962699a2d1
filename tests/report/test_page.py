import re
import shutil
import subprocess
import time
from html.parser import HTMLParser

import pytest

from holdfast.core.errors import InputError
from holdfast.report.page import write_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
OWN = ("google.com", "googleapis.com", "gvt1.com")  # what the browser itself asks for
VOID = {"meta", "img", "br", "link", "rect", "line", "path", "use"}


class Reader(HTMLParser):
    """Collects the elements of a page; every element must be closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.misplaced = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.misplaced.append((tag, self.getpos()))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def _read(path):
    return Reader(path.read_text())


def test_the_page_holds_the_answer_and_every_part(page_of_one):
    assert page_of_one.name == "report.html"
    words = " ".join(_read(page_of_one).text)
    for said in (
        "between 29.7% (certified) and 51.4% (attacked) robust",
        "mind the gap",
        "Accuracy against radius",
        "What became of every example",
        "Learning curves",
        "magnified 10 times",
        "Class by class",
        "Cost",
        "Settings",
        "Every example",
    ):
        assert said in words


def test_the_page_is_well_formed_with_unique_identifiers(page_of_two):
    page = _read(page_of_two)
    assert page.misplaced == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.all("a", "use") if a["href"].startswith("#")}
    assert targets <= set(ids)


def test_nothing_is_loaded_from_outside(page_of_two):
    text, page = page_of_two.read_text(), _read(page_of_two)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    assert not page.all("link", "iframe", "object", "embed")
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_every_picture_has_words(page_of_one):
    page = _read(page_of_one)
    pictures = page.all("img")
    assert len(pictures) == 9
    assert all(attributes["alt"] for attributes in pictures)
    drawings = page.all("svg")
    assert len(drawings) > 8
    for attributes in drawings:
        assert attributes.get("aria-hidden") == "true" or (
            attributes["role"] == "img" and attributes["aria-label"]
        )


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(make_run):
    run = make_run(gallery=True)
    before = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == before


def test_hostile_names_are_shown_and_not_run(make_run):
    names = (HOSTILE, "b", "c", "$d_1$", "_e")
    extra = {"command": HOSTILE, "environment": {HOSTILE: HOSTILE}}
    run = make_run(model=HOSTILE, names=names, warnings=(HOSTILE,), extra=extra)
    result = run.read_result()
    result["attacks"][0]["name"] = HOSTILE
    run.write_result(result)
    path = write_report([run, make_run()])
    page = _read(path)
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 18
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert " ".join(page.text).count(HOSTILE) >= 5


@pytest.mark.parametrize("missing", ["metrics", "gallery", "examples", "certified", "radii"])
@pytest.mark.slow
def test_missing_pieces_leave_a_page(make_run, missing):
    run = make_run(
        metrics=missing != "metrics", gallery=missing != "gallery", certified=missing != "certified"
    )
    if missing == "examples":
        run.examples_file.unlink()
    if missing == "radii":
        run.write_result(run.read_result() | {"radii": [], "per_class": [], "stages": []})
    page = _read(write_report(run))
    words = " ".join(page.text)
    absent = {
        "metrics": "Learning curves",
        "gallery": "before and after",
        "examples": "Every example",
        "certified": "certified: proved at least",
        "radii": "Accuracy against radius",
    }
    for name, said in absent.items():
        assert (said in words) == (name != missing)
    assert page.misplaced == []
    if missing == "certified":
        assert "nothing proved" in words
        assert "Not run: nothing is proved" in words


def test_several_runs_are_compared(page_of_two):
    assert page_of_two.parent.name == "runs"
    page = _read(page_of_two)
    words = " ".join(page.text)
    assert "one leads on both sides" in words
    assert "All models" in words
    assert "The runs differ" not in words
    assert {"#run-1", "#run-2"} <= {a["href"] for a in page.all("a")}


@pytest.mark.slow
def test_runs_that_differ_are_compared_with_a_warning(make_run, tmp_path):
    bare = {"metrics": False, "gallery": False}
    runs = [make_run(**bare), make_run(threat="linf:0.2", **bare)]
    path = write_report(runs, tmp_path / "o.html", title="Both")
    page = _read(path)
    assert path == tmp_path / "o.html"
    assert "The runs differ in threat (linf:0.1, linf:0.2)" in " ".join(page.text)
    assert "Both" in page.text


def test_figures_offer_their_data(page_of_one):
    page = _read(page_of_one)
    names = [a["download"] for a in page.all("a") if "download" in a]
    assert "accuracy-against-radius.csv" in names
    assert len(names) == len(set(names)) >= 8


def test_wrong_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "none")
    with pytest.raises(InputError, match="empty"):
        write_report([])
    assert not list(tmp_path.rglob("*.html"))


FLAG = {"code": "zero-gradients", "severity": "severe", "evidence": HOSTILE, "advice": HOSTILE}
AUDIT = {"sampled": 5, "found": 0, "bound": 0.45, "discarded": 8, "protocol": "standard"}
SANITY = {"radii": [0.0, 0.1, 0.4], "robust": [0.9, 0.5, 0.0]}
PROTOCOL = {"name": "fast", "version": "fast/1", "hash": "0a1b"}


@pytest.mark.slow
def test_flags_stand_before_the_answer_and_put_a_comparison_in_doubt(make_run):
    bare = {"metrics": False, "gallery": False}
    flagged = {"flags": [FLAG], "audit": AUDIT, "sanity": SANITY, "protocol": PROTOCOL}
    one, two = make_run(extra=flagged, model="one", **bare), make_run(model="two", **bare)
    page = _read(write_report(one))
    words = " ".join(page.text)
    assert words.index("What was seen") < words.index("certified: proved at least")
    assert words.count("Audit: of the 8 examples") == 1
    assert "Step by step" in words
    assert "the 2 steps of the protocol fast/1" in words
    assert "stronger with the radius?" in words
    assert len(page.all("script")) == 1
    assert page.misplaced == []
    words = " ".join(_read(write_report([one, two])).text)
    assert "A severe flag puts this in doubt: see one." in words
    assert "differ in protocol (fast/1, a list of attacks)" in words
    assert words.count("What the attacks cost") == 1


@pytest.mark.slow
def test_that_no_flag_fired_is_said_only_by_runs_that_looked(make_run):
    bare = {"metrics": False, "gallery": False}
    looked = " ".join(_read(write_report(make_run(extra={"flags": []}, **bare))).text)
    assert looked.count("No flag fired") == 1
    old = " ".join(_read(write_report(make_run(**bare))).text)
    assert "No flag fired" not in old
    assert "Can this number be believed?" not in old


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_opens_it_without_a_word(make_run, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    run = make_run(model=HOSTILE)
    page = write_report(run)
    log = tmp_path / "net.json"
    command = [chromium, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"]
    found = subprocess.run(
        [*command, "--dump-dom", page.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ":CONSOLE" not in found.stderr
    dom = Reader(found.stdout)
    assert len(dom.all("button")) > 10
    assert "alert" not in [tag for tag, _ in dom.elements]
    deadline = time.monotonic() + 5
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    requested = re.findall(r'"url":\s*"(?:https?|wss?)://([^/"]*)[^"]*"', log.read_text())
    assert [host for host in requested if not host.endswith(OWN)] == []
