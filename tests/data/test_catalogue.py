import subprocess
import sys

import pytest

from holdfast.core.errors import InputError
from holdfast.data.catalogue import AUGMENTATIONS, DATASETS


def test_importing_the_catalogue_loads_no_torch():
    code = (
        "import sys, holdfast.data.catalogue, holdfast.data; "
        "print(sorted({'torch', 'numpy', 'sklearn', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_entry_loads_an_object_that_loads(name):
    loader = DATASETS[name].load()
    assert callable(loader.load)
    assert {"train", "test"} <= set(loader.splits)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_every_augmentation_builds_with_its_defaults(name):
    step = AUGMENTATIONS[name].load()()
    assert step.frame((3, 32, 32))[0] == 3


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        DATASETS["cifar-10"]


def test_public_names_of_the_room_resolve():
    import holdfast.data

    assert all(getattr(holdfast.data, name) is not None for name in holdfast.data.__all__)
