"""What the site says is true: pages and links are there, names and commands that it mentions exist.

The build itself runs every page and example, with warnings as errors.
"""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import holdfast
from holdfast.attacks.text import as_attacks
from holdfast.cli.main import build
from holdfast.core.catalogue import Catalogue

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = ("auto_gallery/", "api/")
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
EXAMPLES = sorted((DOCS / "gallery").glob("plot_*.py"))
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
NEEDED = ("sphinx", "myst_nb", "pydata_sphinx_theme", "sphinx_gallery")
ABSENT = [name for name in NEEDED if importlib.util.find_spec(name) is None]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fenced(page: Path) -> list[tuple[str, str]]:
    return [(language.strip(), body) for language, body in FENCE.findall(text(page))]


def python(page: Path) -> list[str]:
    blocks = [
        body for language, body in fenced(page) if re.match(r"python|\{code-cell\}", language)
    ]
    return [re.sub(r"^:tags:.*$", "", block, flags=re.MULTILINE) for block in blocks]


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def resolve(name: str) -> object:
    """The object of a dotted name, importing as far as it is modules."""
    parts = name.split(".")
    found: object = importlib.import_module(parts[0])
    for at, part in enumerate(parts[1:], start=1):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[: at + 1]))
        found = getattr(found, part)
    return found


def listed(page: Path) -> Iterator[str]:
    """The pages that the page's tables of contents list."""
    for language, body in fenced(page):
        if language == "{toctree}":
            yield from (w for w in body.split() if not w.startswith(":") and not w.isdigit())


def test_every_page_is_listed():
    shown = {DOCS / "index.md"}
    for page in PAGES:
        shown |= {(page.parent / f"{name}.md").resolve() for name in listed(page)}
    assert [p for p in PAGES if p not in shown] == []


@each_page
def test_listed_pages_and_links_are_there(page):
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", prose(page)) if "://" not in t]
    named = [n if n.endswith(".md") else f"{n}.md" for n in listed(page)]
    for target in [*links, *named]:
        if not target.startswith(BUILT):
            assert (page.parent / target).exists(), target


def test_reference_lists_every_room():
    rooms = {p.parent.name for p in (ROOT / "src/holdfast").glob("*/__init__.py")} - {"cli"}
    assert {f"api/{room}" for room in rooms} | {"api/verbs"} == set(
        listed(DOCS / "reference/api.md")
    ) - {"1"}


@each_page
def test_names_that_prose_mentions_exist(page):
    roles = re.findall(r"\{py:\w+\}`([\w.]+)`", prose(page))
    plain = re.findall(r"`(holdfast(?:\.\w+)+)", prose(page))
    for name in {*roles, *plain}:
        resolve(name)


@each_page
def test_catalogues_that_tables_show_exist(page):
    for language, _ in fenced(page):
        if language.startswith("{catalogue}"):
            home, _, name = language.split()[1].partition(":")
            assert isinstance(getattr(importlib.import_module(home), name), Catalogue)


@each_page
def test_python_compiles_and_what_it_imports_exists(page):
    for block in python(page):
        compile(block, str(page), "exec")
        for home, names in re.findall(r"^from (holdfast[\w.]*) import ([\w, ]+)$", block, re.M):
            for name in names.split(","):
                resolve(f"{home}.{name.strip()}")
        for verb in re.findall(r"\bholdfast\.([a-z_]+)\(", block):
            assert callable(getattr(holdfast, verb)), verb


@each_page
def test_attacks_that_python_names_exist(page):
    for block in python(page):
        for names in re.findall(r'attacks="([^"]+)"', block):
            assert as_attacks(names)


@each_page
def test_commands_and_their_options_exist(page):
    shell = "\n".join(body for language, body in fenced(page) if not language)
    calls = re.findall(r"^holdfast ([a-z]+)(.*)$", shell.replace("\\\n", " "), flags=re.MULTILINE)
    calls += re.findall(r"`holdfast ([a-z]+)([^`]*)`", prose(page))
    commands = get_command(build()).commands
    for verb, rest in calls:
        assert verb in commands, verb
        command, inner = commands[verb], re.match(r" ([a-z]+)", rest)
        within = getattr(command, "commands", {})
        if within and inner:
            assert inner[1] in within, (verb, inner[1])
            command = within[inner[1]]
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in known, (verb, option)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_examples_compile_and_begin_with_a_title(example):
    compile(text(example), str(example), "exec")
    assert re.match(r'"""\n\S.*\n=+\n', text(example))


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}; run `make docs`")
def test_the_site_builds_and_asks_for_nothing_outside(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.compile(
        r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//'
    )
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 25
    assert [str(p) for p in pages if loaded.search(text(p))] == []
