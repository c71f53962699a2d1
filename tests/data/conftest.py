"""Small files of every format."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def idx_bytes(values: np.ndarray) -> bytes:
    """An IDX file of bytes, written by hand from the format's description."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """An image file with these pixels, (H, W) or (H, W, 3)."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def colours(count: int, height: int = 7, width: int = 6, seed: int = 0) -> np.ndarray:
    """Random colour images, uint8 (N, H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def write_parquet(path: Path, images: list, labels: list, *, column: str = "img") -> Path:
    """A parquet file in the layout of the hub, without metadata."""
    cells = [{"bytes": each, "path": None} for each in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(cells, type=kind), "label": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def write_folder(root: Path, images: dict) -> Path:
    """A folder of images: `{"cat/1.png": pixels}`."""
    for name, pixels in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(pixels))
    return root


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Path:
    """A working folder from which no local data are found."""
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setattr("holdfast.data.find.__file__", str(tmp_path / "a/b/c/d/find.py"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path
