"""Showings of small data sets, for the tests of objectives that remember their examples."""

import torch

from holdfast.core.random import Keys
from holdfast.data.augment import Augment, Flip, PadCrop
from holdfast.training.memory import Memory
from holdfast.training.visit import Visit
from training.tiny import examples

CROP_FLIP = Augment(steps=(PadCrop(padding=2), Flip()))


class Course:
    """A data set shown epoch by epoch, as the loop of training shows it."""

    def __init__(self, count=11, *, augment=CROP_FLIP, epochs=30, memory=None, data=None):
        self.data = examples(count) if data is None else data
        self.augment, self.epochs = augment, epochs
        self.memory = memory or Memory(len(self.data), torch.device("cpu"))

    def show(self, places, epoch=0, dtype=torch.float32):
        """(x, y, keys, visit) of the examples at these places, in one epoch."""
        places = torch.as_tensor(places)
        keys = Keys.of(5, self.data.index[places]).fold("train").fold(epoch)
        x = self.data.inputs()[places].to(dtype)
        params = self.augment.draw(keys.fold("augment"), x.shape[1:])
        if params:
            x = self.augment.apply(x, params)
        visit = Visit(
            places=places,
            count=len(self.data),
            epoch=epoch,
            epochs=self.epochs,
            memory=self.memory,
            augment=self.augment,
            params=params,
            batch_size=len(places),
        )
        return x, self.data.labels[places], keys.fold("objective"), visit

    def step(self, objective, model, threat, places, epoch=0, dtype=torch.float32):
        """The result of one showing."""
        x, y, keys, visit = self.show(places, epoch, dtype)
        return objective.loss(model, x, y, threat, progress=0.5, keys=keys, visit=visit)

    def copy(self):
        """The same course with a memory of its own, as resumed from a checkpoint."""
        memory = Memory(len(self.data), torch.device("cpu"))
        memory.restore(self.memory.tensors)
        return Course(augment=self.augment, epochs=self.epochs, memory=memory, data=self.data)


def passes_of(course, objective, model, threat, places, epoch=0):
    """Rows that went forward, and rows that came backward, per example of one step."""
    count = {"forward": 0, "backward": 0}

    def add(rows, key):
        count[key] += rows

    def forward(module, inputs, output):
        add(len(output), "forward")
        if output.requires_grad:
            output.register_hook(lambda gradient: add(len(gradient), "backward"))

    handle = model.register_forward_hook(forward)
    course.step(objective, model, threat, places, epoch).loss.backward()
    handle.remove()
    return count["forward"] / len(places), count["backward"] / len(places)
