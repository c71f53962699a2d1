"""The rules of the house, read from the sources: floors, sizes, mirrors, documentation, imports."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import holdfast
from holdfast.core.catalogue import Catalogue

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "holdfast"
FLOORS = {
    "core": 0,
    **dict.fromkeys(("threats", "losses", "models", "data", "schedules", "runs"), 1),
    **dict.fromkeys(("attacks", "certify", "samplers", "toys"), 2),
    "measures": 3,
    **dict.fromkeys(("training", "benchmark"), 4),
    "report": 5,
    "reproduce": 6,
    "facades": 7,
    "cli": 8,
}
CERTIFY = {
    "rounding": 0,
    "operators": 1,
    "graphs": 2,
    **dict.fromkeys(("formats", "substitution", "spec"), 3),
    "bounds": 4,
    **dict.fromkeys(("solvers", "complete", "radii"), 5),
    **dict.fromkeys(("regions", "studies"), 6),
}
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
EXEMPT = {"__init__", "__main__", "catalogue", "protocol"}
LONGEST = 400
# Properties of the command as a whole rather than of one of its files.
WITHOUT_SOURCE = [
    "tests/certify/test_fuzz.py",
    "tests/certify/test_theorems.py",
    "tests/cli/test_bad_input.py",
    "tests/cli/test_resume.py",
    "tests/training/test_c30.py",
    "tests/training/test_traps.py",
]
TARGET = re.compile(r"holdfast(\.\w+)+(:\w+)?")

CERTIFY_MODULE = re.compile(r"holdfast\.certify\.[a-z]")

each_room = pytest.mark.parametrize("room", ROOMS)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str | None:
    """The room of a file; the facades are one; None for other files of the package itself."""
    parts = path.relative_to(SOURCE).parts
    if len(parts) == 1:
        return path.stem if path.stem in FLOORS else None
    return parts[0]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree(path)))


def named(path: Path) -> Iterator[tuple[int, str]]:
    """Modules of holdfast that a file names: in an import at any depth, or as a text to import."""
    package = ("holdfast", *path.relative_to(SOURCE).parts[:-1])
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name != "holdfast")
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "holdfast":
            yield node.lineno, f"holdfast.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and TARGET.fullmatch(str(node.value)):
            yield node.lineno, str(node.value).partition(":")[0]


def breaches(path: Path) -> list[str]:
    """Imports of a file that are not of a floor below it."""
    home = room_of(path)
    found = []
    for line, module in named(path):
        parts = module.split(".")
        if home is None or parts[0] != "holdfast" or parts[1] == home:
            continue
        if not parts[1].startswith("__") and FLOORS.get(parts[1], 99) >= FLOORS[home]:
            found.append(f"line {line}: {home} imports {module}")
    return found


def public(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods of a file."""
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


@cache
def calls(path: Path) -> list[tuple[int, str, ast.Call]]:
    """Every call: its line, what is called, the node."""
    found = [node for node in nodes(path) if isinstance(node, ast.Call)]
    return [(node.lineno, ast.unparse(node.func), node) for node in found]


def everywhere(find: Callable[[Path], list[str]]) -> str:
    """What a rule finds in the sources, a line each."""
    found = [f"{path.relative_to(SOURCE)}: {each}" for path in FILES for each in find(path)]
    return "\n".join(found)


def test_every_room_has_a_floor():
    assert set(ROOMS) <= set(FLOORS)


def test_files_import_only_from_floors_below():
    assert everywhere(breaches) == ""


def test_a_breach_of_the_floors_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "losses").mkdir()
    for source in (
        "import holdfast.attacks.pgd",
        "from holdfast.models import load",
        "def late():\n    from holdfast import cli",
        "HOME = 'holdfast.attacks.pgd:PGD'",
        "from ..attacks import PGD",
        "from holdfast import evaluate",
        "import holdfast\nholdfast.evaluate()",
    ):
        path = tmp_path / "losses" / f"bad{abs(hash(source))}.py"
        path.write_text(source)
        assert len(breaches(path)) == 1, source
    good = tmp_path / "losses" / "good.py"
    good.write_text(
        "from holdfast.core.lazy import attach\nfrom . import dlr\nimport torch\n"
        "import holdfast\nVERSION = holdfast.__version__\n"
    )
    assert breaches(good) == []


def test_certificates_are_built_from_the_ground_up():
    def breaches_inside(path: Path) -> list[str]:
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[0] != "certify" or parts[1] not in CERTIFY:
            return []
        used = {module.split(".")[2] for _, module in named(path) if CERTIFY_MODULE.match(module)}
        others = used - {parts[1], "catalogue"}
        return [f"imports {each}" for each in others if CERTIFY[each] >= CERTIFY[parts[1]]]

    assert everywhere(breaches_inside) == ""
    assert {path.stem for path in (SOURCE / "certify").glob("[a-z]*")} == {*CERTIFY, "catalogue"}


def test_file_names_say_what_is_inside():
    vague = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert everywhere(lambda path: [path.stem] if path.stem in vague else []) == ""


def test_files_are_not_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert everywhere(lambda p: [f"{lengths[p]} lines"] if lengths[p] > LONGEST else []) == ""


def test_every_source_file_has_its_mirror_test():
    def missing(path: Path) -> list[str]:
        inside = path.relative_to(SOURCE)
        mirror = Path("tests") / inside.parent / f"test_{inside.stem.lstrip('_')}.py"
        exempt = path.stem in EXEMPT or (ROOT / mirror).is_file()
        return [] if exempt else [f"{mirror} is missing"]

    assert everywhere(missing) == ""


def test_every_mirror_test_has_its_source():
    strays = [
        str(test.relative_to(ROOT))
        for room in ROOMS
        for test in (ROOT / "tests" / room).rglob("test_*.py")
        if not (home := SOURCE / test.relative_to(ROOT / "tests").parent).is_dir()
        or not {f"{test.stem[5:]}.py", f"_{test.stem[5:]}.py"} & {p.name for p in home.glob("*.py")}
    ]
    assert sorted(strays) == WITHOUT_SOURCE


def test_files_and_everything_public_in_them_are_documented():
    def bare(path: Path) -> list[str]:
        nodes = [("the file", tree(path)), *public(path)]
        return [name for name, node in nodes if not ast.get_docstring(node)]

    assert everywhere(bare) == ""


def test_only_the_command_prints():
    def prints(path: Path) -> list[str]:
        printing = {"print", "rich.print", "pprint", "pprint.pprint"}
        return [f"line {line}" for line, name, _ in calls(path) if name in printing]

    assert everywhere(lambda path: prints(path) if room_of(path) != "cli" else []) == ""


def test_no_global_generator_is_read_or_set():
    banned = re.compile(
        r"torch\.(cuda\.)?(manual_seed|seed|set_rng_state|get_rng_state|initial_seed)(_all)?"
        r"|torch\.(rand|randn|randint|randperm|rand_like|randn_like|bernoulli|multinomial|normal)"
        r"|(np|numpy)\.random\.\w+|random\.(seed|random|randint|choice|shuffle|sample|uniform)"
    )

    def draws(path: Path) -> list[str]:
        return [
            f"line {line}: {name}"
            for line, name, call in calls(path)
            if banned.fullmatch(name) and not any(k.arg == "generator" for k in call.keywords)
        ]

    assert everywhere(draws) == ""


def test_names_are_ascii():
    def foreign(path: Path) -> list[str]:
        fields = ("id", "arg", "attr", "name")
        names = {getattr(node, field, "") for node in nodes(path) for field in fields}
        return sorted(name for name in names if name and not name.isascii())

    assert everywhere(foreign) == ""


def test_rooms_and_catalogues_import_neither_torch_nor_numpy():
    modules = [f"holdfast.{room}" for room in ROOMS]
    modules += [
        ".".join(("holdfast", *path.relative_to(SOURCE).with_suffix("").parts))
        for path in FILES
        if path.stem == "catalogue" or (path.stem == "__init__" and path.parent != SOURCE)
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {sorted(set(modules))!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'numpy', 'scipy'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@each_room
def test_every_name_that_a_room_offers_can_be_imported(room):
    package = importlib.import_module(f"holdfast.{room}")
    for name in getattr(package, "__all__", ()):
        assert getattr(package, name) is not None


@each_room
def test_no_offered_name_is_also_a_file(room):
    package = importlib.import_module(f"holdfast.{room}")
    files = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert files & set(getattr(package, "__all__", ())) == set()


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem == "catalogue" and room_of(path) != "core"]
)
def test_every_entry_of_every_catalogue_loads(path):
    module = importlib.import_module(
        ".".join(("holdfast", *path.relative_to(SOURCE).with_suffix("").parts))
    )
    catalogues = [value for value in vars(module).values() if isinstance(value, Catalogue)]
    assert catalogues
    for entry in (entry for catalogue in catalogues for entry in catalogue.values()):
        assert entry.load() is not None
        assert entry.summary
        assert "\n" not in entry.summary


TEXTS = [
    path
    for pattern in ("src/**/*", "tests/**/*", "docs/**/*", "recipes/**/*", "benchmarks/**/*", "*")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in {".py", ".md", ".rst", ".toml", ".html", ".cff", ".txt", ".jinja", ".css", ""}
    and path.is_file()
    and path != Path(__file__)
    and "_build" not in path.parts
]
UNSAID = re.compile(
    r"\b(TODO|FIXME|XXX|HACK)\b"  # unfinished
    r"|(?<![\w.~])/(work|root|home/\w+)/"  # somebody's machine
)


def test_nothing_unfinished_or_private_is_said():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := UNSAID.search(line))
    ]
    assert found == []


def test_the_version_is_the_same_everywhere():
    versions = {
        re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)[1]
        for name, pattern in {
            "pyproject.toml": r'^version = "(.+)"',
            "CITATION.cff": r"^version: (.+)",
            "CHANGELOG.md": r"^## ([\d.]+)",
        }.items()
    }
    assert versions == {holdfast.__version__}
