"""doctor: everything told, a self-test that can fail."""

import json

import pytest

from holdfast.cli import doctor
from holdfast.core.errors import MissingExtra


@pytest.fixture
def quick(monkeypatch):
    """Few packages to look at."""
    monkeypatch.setattr(doctor, "EXTRAS", {"vision": ("no_such_package",), "data": ("json",)})
    monkeypatch.setattr(doctor, "PACKAGES", ("safetensors",))


@pytest.mark.usefixtures("quick")
def test_everything_is_told(run_command):
    found = json.loads(run_command("doctor", "--json").out)
    assert found["environment"]["torch"]
    assert found["extras"]["vision"]["no_such_package"].startswith("absent (ModuleNotFoundError")
    assert found["packages"]["safetensors"][0].isdigit()
    assert found["data"]["embedded"] == "digits"
    assert found["self_test"]["passed"]
    answer = run_command("doctor")
    assert answer.code == 0
    assert "self-test: passed" in answer.out


@pytest.mark.usefixtures("quick")
def test_a_failed_self_test_is_exit_code_3(run_command, monkeypatch):
    failed = {"passed": False, "detail": "robust 1, exactly 2", "seconds": 0.1}
    monkeypatch.setattr(doctor, "self_test", lambda: failed)
    answer = run_command("doctor")
    assert answer.code == 3
    assert "self-test: FAILED (robust 1, exactly 2" in answer.out


def test_the_self_test_notices_a_wrong_attack(monkeypatch):
    import torch

    from holdfast.threats.balls import Linf

    assert doctor.self_test(60)["passed"]
    monkeypatch.setattr(Linf, "steepest", lambda self, grad, length: torch.zeros_like(grad))
    assert not doctor.self_test(60)["passed"]


def test_a_package_that_breaks_at_import_tells_its_cause(monkeypatch):
    def broken(module, *, extra):
        raise MissingExtra("x") from RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("holdfast.core.optional.optional", broken)
    assert doctor._state("torchvision", "vision") == (
        "absent (RuntimeError: operator torchvision::nms does not exist)"
    )
