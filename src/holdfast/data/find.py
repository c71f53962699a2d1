"""Where data lie: the folder to look in, and how a set is stored there.

Precedence: the argument `data_dir`, else the environment's HOLDFAST_DATA, else `../shared/data`
beside the working folder or the checkout, else the hub.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import InputError
from holdfast.data.folder import SPLITS, load_folder
from holdfast.data.idx import find_idx, load_idx
from holdfast.data.images import Arrays
from holdfast.data.npz import load_npz
from holdfast.data.parquet import find_parquet, load_parquet

VARIABLE = "HOLDFAST_DATA"


def data_folder(data_dir: Path | str | None = None) -> Path | None:
    """The folder of local data, or None where there is none.

    Raises:
        InputError: the argument or HOLDFAST_DATA names something that is not a folder.
    """
    for argument, value in (("data_dir", data_dir), (VARIABLE, os.environ.get(VARIABLE))):
        if value:
            if not Path(value).is_dir():
                raise InputError(argument, str(value), "is not a folder", "check the path")
            return Path(value)
    for checkout in (Path.cwd(), Path(__file__).resolve().parents[3]):
        candidate = checkout.parent / "shared" / "data"
        if candidate.is_dir():
            return candidate
    return None


def read_set(
    root: Path,
    split: str,
    limit: int | None,
    *,
    folders: Sequence[str],
    foreign: Sequence[str] = (),
    idx: bool = False,
) -> Arrays | None:
    """A split of a named set from the folder of local data; None where it is not there.

    Args:
        folders: what the set's own folder may be called; it may also be `root` itself.
        foreign: names of folders that hold other sets under the same file names.
        idx: whether the set is distributed as IDX files.

    Raises:
        InputError: files that are there and cannot be used.
    """
    own = [root / name for name in folders if (root / name).is_dir()]
    for folder in own:
        found = _read_own(folder, split, limit, idx=idx)
        if found is not None:
            return found
    for archive in (root / f"{name}.npz" for name in folders):
        if archive.is_file():
            return load_npz(archive, split)
    if {root.name, root.parent.name if root.name == "raw" else ""} & set(foreign):
        return None
    if root.name in folders:
        return _read_own(root, split, limit, idx=idx)
    return _read_files([root / "raw", root], split, limit, idx=idx)


def read_path(path: Path, split: str, limit: int | None) -> Arrays:
    """A split of the data at a path: an `.npz` or `.parquet` file, or a folder of one of the forms
    that are read.

    Raises:
        InputError: nothing there, nothing that can be read, no such split.
    """
    if path.is_dir():
        files = _read_files([path / "raw", path, path / "data"], split, limit, idx=True)
        return files or _whole_or_images(path, split, limit)
    if not path.exists():
        raise InputError("data", str(path), "is not there", "check the path")
    if path.suffix == ".npz":
        return load_npz(path, split)
    if path.suffix == ".parquet":
        return load_parquet([path], path.stem if path.stem in SPLITS else "all", limit)
    raise InputError("data", str(path), "is no kind of data file known", "give .npz or .parquet")


def _read_own(folder: Path, split: str, limit: int | None, *, idx: bool) -> Arrays | None:
    """From a folder that belongs to the set."""
    below = sorted(each for each in folder.iterdir() if each.is_dir())
    places = [folder / "raw", folder, *below] if idx else [folder, *below]
    found = _read_files(places, split, limit, idx=idx)
    if found is None and (folder / split).is_dir():
        return load_folder(folder, split, limit)
    return found


def _read_files(
    places: Sequence[Path], split: str, limit: int | None, *, idx: bool
) -> Arrays | None:
    for place in places:
        pair = find_idx(place, split) if idx else None
        if pair is not None:
            return load_idx(*pair, split)
        files = find_parquet(place, split)
        if files:
            return load_parquet(files, split, limit)
    return None


def _whole_or_images(path: Path, split: str, limit: int | None) -> Arrays:
    """A folder that holds no files of the split: parquet without splits, or images."""
    others = [name for name in SPLITS if _read_names(path, name)]
    if others:
        raise InputError("split", split, f"is not in {path}", f"give one of {', '.join(others)}")
    files = sorted(path.glob("*.parquet"))
    return load_parquet(files, "all", limit) if files else load_folder(path, split, limit)


def _read_names(path: Path, split: str) -> bool:
    places = (path / "raw", path, path / "data")
    return any(find_idx(place, split) or find_parquet(place, split) for place in places)
