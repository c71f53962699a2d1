import pytest
import torch

from holdfast.reproduce.records import line_per_row
from holdfast.reproduce.trainings import Measured, TrainedRow, folder, line_of, trained

QUICK = {
    "training.epochs": 2,
    "data.limit": 60,
    "data.validation": 20,
    "selection.attack": "pgd-2-1",
}
ROW = TrainedRow(
    name="digits, standard",
    recipe="digits-standard",
    changes=QUICK,
    measured=(
        Measured(measure="clean_accuracy"),
        Measured(measure="clean_train_accuracy", split="train", weights="last"),
        Measured(measure="robust_accuracy", attack="pgd-3-1", threat="linf:0.1"),
    ),
    seeds=2,
)


@pytest.mark.slow
def test_figures_are_those_of_every_seed(tmp_path):
    columns = trained(ROW, tmp_path, images=30, seed=5)
    assert columns["figure.clean_accuracy"].shape == (2,)
    assert columns["history.robust_accuracy"].shape == (2, 2)
    assert (columns["figure.robust_accuracy"] <= columns["figure.clean_accuracy"]).all()
    assert columns["figure.forwards"].tolist() == [2 * 40.0] * 2
    alone = trained(TrainedRow(**{**vars(ROW), "seeds": 1}), tmp_path / "x", images=30, seed=6)
    assert torch.equal(alone["figure.clean_accuracy"], columns["figure.clean_accuracy"][1:])


def test_a_finished_seed_is_kept(tmp_path):
    first = trained(ROW, tmp_path, images=30, seed=0)
    weights = folder(tmp_path, ROW.name, 0) / "checkpoints" / "best.safetensors"
    weights.unlink()
    again = trained(ROW, tmp_path, images=30, seed=0)
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_lines_are_means_with_their_spread():
    columns = {"figure.clean_accuracy": torch.tensor([0.5, 0.7]), "history.loss": torch.ones(2, 3)}
    line = line_of(columns)
    assert line["clean_accuracy"] == torch.tensor([0.5, 0.7]).mean().item()
    assert abs(line["clean_accuracy_spread"] - 0.1414) < 1e-3
    assert line_per_row({}, {"row": columns}) == {"row": line}
