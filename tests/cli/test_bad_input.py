"""Bad input: exit code 2, one line that names argument, value and remedy, nothing left behind."""

import os
import resource
import stat
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

BASE = {
    "--model": "net.safetensors",
    "--data": "digits",
    "--threat": "linf:0.1",
    "--attacks": "fgsm",
    "--limit": "20",
}

MODELS = """
import torch


class Net(torch.nn.Module):
    def __init__(self, after, classes=10):
        super().__init__()
        self.linear, self.after = torch.nn.Linear(64, classes), after

    def forward(self, x):
        return self.after(self.linear(x.flatten(1)))


def probabilities():
    return Net(lambda z: z.softmax(1))


def wrong_shape():
    return Net(lambda z: z[:, :, None])


def not_a_number():
    return Net(lambda z: z * float("nan"))


def whole_numbers():
    return Net(lambda z: z.long())


def few_classes():
    return Net(lambda z: z, classes=3)


def no_module():
    return 3


def failing():
    raise ValueError("no such luck")
"""


def write_bad_files(folder):
    """One file of every kind of damage."""
    (folder / "badmodels.py").write_text(MODELS)
    whole = (folder / "net.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "text.safetensors").write_text("these are no weights at all")
    torch.save({"w": torch.ones(2)}, folder / "pickle.pt")
    torch.save({"w": torch.ones(2)}, folder / "disguised.safetensors")
    x, y = np.full((6, 1, 8, 8), 0.5, np.float32), np.arange(6)
    spoilt = x.copy()
    spoilt[2, 0, 3, 3] = np.nan
    for name, pair in {
        "nan": (spoilt, y),
        "range": (x * 4, y),
        "negative": (x, y - 3),
        "lengths": (x, y[:5]),
        "empty": (x[:0], y[:0]),
        "text": (x.astype(str), y),
        "floats": (x, y + 0.5),
    }.items():
        np.savez(folder / f"{name}.npz", x=pair[0], y=pair[1])
    np.savez(folder / "whole.npz", x=x, y=y)
    npz = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(npz[: len(npz) // 2])
    table = pyarrow.table({"image": [b"x"] * 50, "label": list(range(50))})
    pyarrow.parquet.write_table(table, folder / "whole.parquet")
    parquet = (folder / "whole.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(parquet[: len(parquet) // 2])
    (folder / "idx").mkdir()
    header = bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8])
    (folder / "idx" / "t10k-images-idx3-ubyte").write_bytes(header + bytes(100))
    (folder / "idx" / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1, 0, 0, 0, 9, *[1] * 9])
    )
    (folder / "nothing").mkdir()
    (folder / "folder.npz").mkdir()
    (folder / "bad.toml").write_text("threat = \n")
    (folder / "keys.toml").write_text('threat = "linf:0.1"\nobjective = "standard"\nepochs = 3\n')
    (folder / "file").write_text("a file")


@pytest.fixture
def damaged(here):
    """The current folder with all damaged files."""
    write_bad_files(here)
    return here


def evaluate(**changes):
    """Arguments of an evaluation with some options changed; None leaves one out."""
    given = BASE | {f"--{key.replace('_', '-')}": value for key, value in changes.items()}
    pairs = [(key, value) for key, value in given.items() if value is not None]
    return ["evaluate", "--quiet", *(each for pair in pairs for each in pair)]


CASES = {
    # models
    "model-unknown": (evaluate(model="digits_con"), "'digits_con'", "did you mean 'digits_conv'"),
    "model-missing": (evaluate(model="nets/x.safetensors"), "nets/x.safetensors", "give a"),
    "model-pickle": (evaluate(model="disguised.safetensors"), "is a pickle", "convert it first"),
    "model-cut": (evaluate(model="cut.safetensors"), "cut.safetensors", "write or fetch it again"),
    "model-text": (evaluate(model="text.safetensors"), "text.safetensors", "write or fetch"),
    "model-no-run": (evaluate(model="nothing"), "nothing", "give"),
    "model-no-checkpoint": (evaluate(model="runs/a"), "runs/a", "holdfast train"),
    "model-other-file": (evaluate(model="file"), "'file'", "give a name"),
    "model-not-there": (evaluate(model="no/such/net"), "no/such/net", "give a name"),
    "factory-no-module": (evaluate(model="nosuchmodule:make"), "nosuchmodule", "check its name"),
    "factory-no-name": (
        evaluate(model="badmodels:probabilitie"),
        "probabilitie",
        "'probabilities'",
    ),
    "factory-no-net": (evaluate(model="badmodels:no_module"), "returned int", "return one"),
    "factory-fails": (evaluate(model="badmodels:failing"), "no such luck", "correct it"),
    "factory-half": (evaluate(model="badmodels:"), "badmodels:", "name both parts"),
    "output-shape": (evaluate(model="badmodels:wrong_shape"), "(", "logits (B, K)"),
    "output-nan": (evaluate(model="badmodels:not_a_number"), "NaN", "repair the model"),
    "output-integer": (evaluate(model="badmodels:whole_numbers"), "int64", "logits"),
    "output-classes": (evaluate(model="badmodels:few_classes"), "3 outputs", "another model"),
    "weights-other": (
        evaluate(model="digits_conv", weights="net.safetensors"),
        "weights='net.safetensors'",
        "give the model",
    ),
    "weights-missing": (evaluate(weights="none.safetensors"), "none.safetensors", "give a"),
    "weights-pickle": (evaluate(weights="pickle.pt"), "pickle.pt", "convert it first"),
    # protocols
    "protocol-unknown": (
        evaluate(attacks=None, protocol="standrd"),
        "protocol='standrd'",
        "did you mean 'standard'",
    ),
    "protocol-empty": (evaluate(attacks=None, protocol=""), "protocol=''", "known are"),
    "protocol-and-attacks": (evaluate(protocol="fast"), "protocol='fast'", "give a protocol, or"),
    "protocol-infinite": (
        evaluate(attacks=None, protocol="fast", threat="linf:inf"),
        "linf:inf",
        "give a radius",
    ),
    "protocol-spatial": (
        evaluate(attacks=None, protocol="pgd-50-10", threat="spatial:rot=30,shift=3"),
        "spatial:rot=30,shift=3",
        "use linf:0.1",
    ),
    "protocol-infinite-ball": (
        evaluate(attacks=None, protocol="apgd-t-3-20", threat="linf:inf"),
        "linf:inf",
        "use linf:0.1",
    ),
    "examples-kind": (
        evaluate(save_examples="x.txt"),
        "save_examples='x.txt'",
        "name FILE.npz or FILE.parquet",
    ),
    # data
    "data-unknown": (evaluate(data="digit"), "data='digit'", "did you mean 'digits'"),
    "data-missing": (evaluate(data="no/where.npz"), "no/where.npz", "check the path"),
    "data-kind": (evaluate(data="file"), "file", "give .npz or .parquet"),
    "data-cut-npz": (evaluate(data="cut.npz", limit=None), "cut.npz", ";"),
    "data-cut-parquet": (evaluate(data="cut.parquet", limit=None), "cut.parquet", ";"),
    "data-cut-idx": (evaluate(data="idx/", limit=None), "t10k-images", ";"),
    "data-nothing": (evaluate(data="nothing/", limit=None), "nothing", ";"),
    "data-nan": (evaluate(data="nan.npz", limit=None), "x=example 2", "repair it"),
    "data-range": (evaluate(data="range.npz", limit=None), "values from 2", "divide by 255"),
    "data-negative": (evaluate(data="negative.npz", limit=None), "-3", ";"),
    "data-lengths": (evaluate(data="lengths.npz", limit=None), "5", ";"),
    "data-empty": (evaluate(data="empty.npz", limit=None), "empty", ";"),
    "data-text": (evaluate(data="text.npz", limit=None), "<U", "give uint8"),
    "data-floats": (evaluate(data="floats.npz", limit=None), "y", ";"),
    "data-dir-missing": (evaluate(data="mnist", data_dir="no-dir"), "no-dir", "check the path"),
    "data-dir-file": (evaluate(data="mnist", data_dir="file"), "'file'", "check the path"),
    "split": (evaluate(split="tset"), "tset", "test"),
    "limit-0": (evaluate(limit="0"), "limit=0", "give"),
    "limit-negative": (evaluate(limit="-3"), "limit=-3", "give"),
    "limit-large": (evaluate(limit="1000000"), "1000000", "500"),
    "limit-text": (evaluate(limit="many"), "'--limit'", "--help"),
    "data-left-out": (evaluate(data=None), "data=None", "--data"),
    # threats
    "threat-unknown": (evaluate(threat="lnf:0.1"), "'lnf'", "'linf'"),
    "threat-no-radius": (evaluate(threat="linf"), "'linf'", "linf:8/255"),
    "threat-negative": (evaluate(threat="linf:-0.1"), "-0.1", ";"),
    "threat-text": (evaluate(threat="linf:big"), "'big'", "give a number"),
    "threat-nan": (evaluate(threat="linf:nan"), "nan", ";"),
    "threat-option": (evaluate(threat="linf:0.1,bx=none"), "'bx'", "'box'"),
    "threat-left-out": (evaluate(threat=None), "threat=None", "--threat"),
    # attacks and bounds
    "attack-unknown": (evaluate(attacks="fgms"), "'fgms'", "'fgsm'"),
    "attack-count": (evaluate(attacks="pgd-0-1"), "'pgd-0-1'", "pgd-50-10"),
    "attack-form": (evaluate(attacks="pgd-ten"), "'pgd-ten'", "pgd-50-10"),
    "attack-step": (evaluate(attacks="pgd-10-1-eps*2"), "'eps*2'", "eps/4"),
    "attack-step-negative": (evaluate(attacks="pgd-10-1--0.1"), "-0.1", "give a number > 0"),
    "attack-none": (
        [
            "attack",
            "--model",
            "net.safetensors",
            "--data",
            "digits",
            "--threat",
            "linf:0.1",
            "--attacks",
            ",",
        ],
        "attacks=','",
        "give one",
    ),
    "bound-unknown": (evaluate(bounds="intervl"), "'intervl'", "'interval'"),
    "method-unknown": (
        [
            "certify",
            "--model",
            "net.safetensors",
            "--data",
            "digits",
            "--threat",
            "linf:0.1",
            "--method",
            "crwn",
            "--quiet",
        ],
        "'crwn'",
        "did you mean 'crown'",
    ),
    "radii-negative": (evaluate(radii="0.1,-0.2"), "radii=-0.2", "give numbers >= 0"),
    "radii-text": (evaluate(radii="0.1,far"), "radii='far'", "give a number"),
    # other options
    "normalize-zero": ([*evaluate(), "--normalize", "0.5", "0"], "std", ";"),
    "normalize-text": ([*evaluate(), "--normalize", "half", "1"], "'half'", "give a number"),
    "normalize-one": ([*evaluate(), "--normalize", "0.5"], "--normalize", "--help"),
    "batch-size": (evaluate(batch_size="0"), "batch_size=0", "give a whole number"),
    "block": (evaluate(block="0"), "block=0", "give a whole number"),
    "seed": (evaluate(seed="-1"), "seed=-1", "give a whole number"),
    "threads": (evaluate(threads="0"), "threads=0", "give a whole number"),
    "jobs": (evaluate(jobs="0"), "jobs=0", "give a whole number"),
    "dtype": (evaluate(dtype="float16"), "dtype='float16'", "use float32"),
    "device": (evaluate(device="tpu"), "device='tpu'", "use 'cpu'"),
    "out-folder": (evaluate(out="nothing"), "out='nothing'", "name a file"),
    "out-below-file": (evaluate(out="file/result.json"), "file/result.json", "name another"),
    "save-folder": (evaluate(save_examples="folder.npz"), "folder.npz", "name a file"),
    "run-not-empty": (evaluate(run="runs/a"), "runs/a", "--resume"),
    "run-is-file": (evaluate(run="file"), "file", "choose"),
    "resume-nothing": ([*evaluate(), "--resume"], "resume=True", "give --run DIR"),
    "resume-no-run": ([*evaluate(run="runs/none"), "--resume"], "runs/none", "give a run"),
    "resume-other": ([*evaluate(run="runs/a"), "--resume"], "data=", "without --resume"),
    # usage
    "no-model": (["evaluate", "--data", "digits"], "--model", "--help"),
    "no-option": (["evaluate", "--modle", "x"], "--modle", "--model"),
    "no-command": (["evalute"], "'evalute'", "'evaluate'"),
    "no-noun": (["attacks", "lst"], "'lst'", "'list'"),
    # training
    "recipe-unknown": (["train", "digits-pdg"], "'digits-pdg'", "'digits-pgd'"),
    "recipe-missing": (["train", "mine.toml"], "'mine.toml'", "give a recipe"),
    "recipe-toml": (["train", "bad.toml"], "bad.toml", "correct the file"),
    "recipe-key": (["train", "keys.toml"], "'epochs'", ";"),
    "set-key": (["train", "digits-pgd", "--set", "training.epohs=3"], "'epohs'", "'epochs'"),
    "set-form": (
        ["train", "digits-pgd", "--set", "training.epochs"],
        "training.epochs",
        "key=value",
    ),
    "set-type": (["train", "digits-pgd", "--set", "training.epochs=many"], "'many'", "give"),
    "set-range": (["train", "digits-pgd", "--set", "training.epochs=0"], "0", ">= 1"),
    "train-init": (["train", "digits-pgd", "--init", "net.pt"], "init='net.pt'", "safetensors"),
    "train-init-other": (
        ["train", "digits-pgd", "--init", "net.safetensors", "--quiet"],
        "net.safetensors",
        "give the model",
    ),
    # runs
    "gate-nothing": (["gate", "runs/a"], "runs/a", "min_robust"),
    "gate-percent": (["gate", "runs/a", "--min-robust", "45"], "min_robust=45", "0.45"),
    "gate-sign": (["gate", "runs/a", "--min-clean", "45%"], "'45%'", "0.45"),
    "gate-drop": (["gate", "runs/a", "--max-drop", "0.1"], "max_drop=0.1", "give both"),
    "gate-no-run": (["gate", "nothing", "--min-robust", "0.1"], "nothing", "give one"),
    "compare-no-run": (["compare", "runs/a", "runs/c"], "runs/c", "give a run"),
    "report-no-run": (["report", "nothing"], "nothing", "give one"),
    "cite-unknown": (["cite", "intervall"], "'intervall'", "'interval'"),
    "show-unknown": (["attacks", "show", "pgdd"], "'pgdd'", "'pgd'"),
    "convert-text": (["models", "convert", "file", "x.safetensors"], "'file'", "torch.save"),
    "copy-there": (["recipes", "copy", "digits-pgd", "file"], "'file'", "name another"),
    "check-bad": (["recipes", "check", "keys.toml"], "'epochs'", ";"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_names_argument_value_and_remedy(case, damaged, run_command, listing):
    arguments, value, remedy = CASES[case]
    before = listing()
    answer = run_command(*arguments)
    lines = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert answer.code == 2, answer
    assert len(lines) == 1, answer.err
    assert value in lines[0]
    assert remedy in lines[0]
    assert len(lines[0]) < 500
    assert "Traceback" not in answer.err + answer.out
    assert answer.out == ""
    assert listing() == before


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_device_is_left_alone(here, run_command):
    answer = run_command(*evaluate(out="/dev/full"))
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert answer.code == 2
    assert "/dev/full" in line
    assert "free space" in line
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.slow
def test_runs_on_other_data_are_not_compared(here, run_command):
    assert run_command(*evaluate(limit="30", run="runs/c")).code == 0
    answer = run_command("compare", "runs/a", "runs/c")
    assert answer.code == 2
    assert "evaluate both on the same data" in answer.err


def test_a_truncated_table_of_examples_is_one_line(here, run_command):
    table = here / "runs" / "a" / "examples.parquet"
    table.write_bytes(table.read_bytes()[:200])
    answer = run_command("compare", "runs/a", "runs/b")
    assert answer.code == 2
    assert answer.err.count("error:") == 1
    assert "examples.parquet" in answer.err


def test_a_damaged_result_is_one_line(here, run_command):
    (here / "runs" / "a" / "result.json").write_text("{")
    answer = run_command("gate", "runs/a", "--min-robust", "0.1")
    assert answer.code == 2
    assert "is not valid JSON" in answer.err


def test_debug_shows_the_traceback_as_well(here, run_command):
    answer = run_command("cite", "nobody", "--debug")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("error:")


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_one_line_and_leaves_nothing(here, listing):
    before = listing()
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *evaluate(threads="1")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1
    assert "ulimit -f" in lines[0]
    assert "Traceback" not in done.stderr
    assert not [
        name for name in listing() if name.endswith((".tmp", "result.json")) and name not in before
    ]
