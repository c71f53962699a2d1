import torch

from holdfast.training.distributed import World
from holdfast.training.memory import Memory

CPU = torch.device("cpu")


def test_rows_are_the_fill_until_they_are_written():
    memory = Memory(5, CPU)
    assert memory.read("v", torch.tensor([4, 0]), fill=0.25).tolist() == [0.25, 0.25]
    memory.write("v", torch.tensor([4]), torch.tensor([2.0]))
    assert memory.read("v", torch.tensor([4, 0, 3])).tolist() == [2.0, 0.25, 0.25]


def test_the_type_of_the_first_read_is_kept():
    memory = Memory(3, CPU)
    memory.read("delta", torch.tensor([0]), shape=(2,), dtype=torch.float16)
    memory.write("delta", torch.tensor([1]), torch.full((1, 2), 0.1))
    assert memory.tensors["delta"].dtype == torch.float16


def test_a_stand_in_writes_nothing():
    memory = Memory(2, CPU)
    memory.recording = False
    memory.write("v", torch.tensor([0]), torch.ones(1))
    assert memory.tensors == {}


def test_in_another_shape_it_begins_afresh():
    memory = Memory(2, CPU)
    memory.write("v", torch.tensor([0]), torch.ones(1, 3))
    assert memory.read("v", torch.tensor([0]), shape=(4,)).tolist() == [[0.0] * 4]
    memory.write("v", torch.tensor([0]), torch.ones(1, 4))
    assert memory.read("v", torch.tensor([0]), shape=(4,)).tolist() == [[1.0] * 4]


def test_restored_rows_are_a_copy():
    first, second = Memory(3, CPU), Memory(3, CPU)
    first.write("v", torch.tensor([1]), torch.tensor([7.0]))
    second.restore(first.tensors)
    second.write("v", torch.tensor([1]), torch.tensor([8.0]))
    assert first.read("v", torch.tensor([1])).item() == 7.0


def test_processes_learn_what_the_others_wrote():
    mine, theirs = Memory(4, CPU), Memory(4, CPU)
    for memory, place, value in ((mine, 0, 1.0), (theirs, 3, 2.0)):
        memory.read("v", torch.tensor([place]), fill=-1.0)
        memory.write("v", torch.tensor([place]), torch.tensor([value]))

    class Two(World):
        """Adds the other process's part, as a reduction over both would."""

        parts = iter([theirs.tensors["v"] * torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1])])

        def total(self, values):
            return values + next(self.parts).to(values.dtype)

    mine.share(Two(0, 2, CPU))
    assert mine.read("v", torch.arange(4)).tolist() == [1.0, -1.0, -1.0, 2.0]
