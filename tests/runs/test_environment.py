import json
import os
import platform
import socket
from pathlib import Path

import numpy
import torch

import holdfast
from holdfast.runs.environment import environment


def test_environment_says_what_computed_and_nothing_private():
    got = environment()
    assert got["holdfast"] == holdfast.__version__
    assert got["python"] == platform.python_version()
    assert got["torch"] == torch.__version__
    assert got["numpy"] == numpy.__version__
    assert got["threads"] == torch.get_num_threads()
    assert got["omp_wait_policy"] == os.environ.get("OMP_WAIT_POLICY")
    assert 1 <= got["cores"] <= os.cpu_count()
    assert len(got["gpus"]) == torch.cuda.device_count()
    assert got["cpu"]
    text = json.dumps(got)
    assert os.getcwd() not in text
    assert os.path.expanduser("~") + "/" not in text
    assert socket.gethostname() not in got.values()


def test_a_system_that_does_not_tell_its_processor(monkeypatch):
    read_text = Path.read_text

    def refuse(path, *options, **more):
        if str(path) == "/proc/cpuinfo":
            raise FileNotFoundError
        return read_text(path, *options, **more)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert environment()["cpu"] == (platform.processor() or platform.machine())
