"""What the README shows is true: its Python runs, its commands exist, its files are there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from holdfast.cli.main import build

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = [part.partition("\n") for part in TEXT.split("```")[1::2]]
BLOCKS = [body for language, _, body in FENCED if language == "python"]
SHELL = [body for language, _, body in FENCED if not language]


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 160


def test_five_lines_on_ones_own_model_run(capsys):
    assert len(BLOCKS[0].strip().splitlines()) <= 6
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    assert "certified" in capsys.readouterr().out


@pytest.mark.slow
def test_training_and_loading_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile("import holdfast\n" + BLOCKS[1], "README.md", "exec"), names)
    assert names["model"] is not None


def test_every_command_and_option_exists():
    lines = re.sub(r" {2,}holdfast", "\nholdfast", "".join(SHELL).replace("\\\n", " "))
    calls = re.findall(r"^holdfast ([a-z]+)(.*)$", lines, flags=re.MULTILINE)
    assert len(calls) >= 10
    commands = get_command(build()).commands
    for verb, rest in calls:
        assert verb in commands, verb
        known = {name for p in commands[verb].params for name in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in known, (verb, option)


def test_files_it_points_to_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
