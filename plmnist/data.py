"""Reading data sets: find the files, verify every byte, return images and labels as tensors.

Where files are looked for, in this order:

1. the folder named by the environment variable ``PLMNIST_DATA_DIR``, which is only read, never written;
2. the data folder: what the caller passes (``--data-dir`` on the command line), or else ``data`` in the current folder.

In each of them the files may lie in a folder named after the data set or directly, as published (``.gz``) or, where the
hash of the unpacked bytes is known, unpacked. Training and attacking only read; what is in neither place is fetched by
``plmnist download`` (:mod:`plmnist.download`) into ``<data folder>/<data set>/``.

Hashes are checked at every use: it costs less than a tenth of what unpacking costs.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plmnist.errors import ConfigurationError, DataError, near_matches
from plmnist.registry import DATASETS, DataFile, DataSet

if TYPE_CHECKING:
    import torch

    from plmnist.sample import Sample

__all__ = [
    "DATA_DIR_VARIABLE",
    "DEFAULT_DATA_DIR",
    "ImageSet",
    "data_hashes",
    "dataset_named",
    "find_file",
    "is_available",
    "load_test",
    "load_train",
    "read_verified",
    "search_folders",
]

DATA_DIR_VARIABLE = "PLMNIST_DATA_DIR"
DEFAULT_DATA_DIR = Path("data")

DIGITS_N_TRAIN = 1438
"""The embedded digits come as one table; its first 1438 rows (80 %) are the training part, the last 359 the test part.
Rows of one writer are neighbours in the table, so most test images are by writers the network has not seen."""


@dataclass(frozen=True)
class ImageSet:
    """The training or the test part of a data set.

    Attributes
    ----------
    images
        Grey values, uint8, shape (N, 1, H, W).
    labels
        Classes, int64, shape (N,).
    full_scale
        The grey value that is pixel value 1.0.
    """

    images: torch.Tensor
    labels: torch.Tensor
    full_scale: int

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImageSet:
        """Return the images and labels on a device."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.full_scale)

    def at(self, sample: Sample) -> ImageSet:
        """Return a part of the images; themselves if it is all."""
        if sample.is_all:
            return self
        rows = list(sample.rows())
        return ImageSet(self.images[rows], self.labels[rows], self.full_scale)

    def pixels(self, rows: slice | None = None) -> torch.Tensor:
        """Return images as float32 in [0, 1], shape (n, 1, H, W)."""
        images = self.images if rows is None else self.images[rows]
        return images.float().div_(self.full_scale)


def dataset_named(name: str) -> DataSet:
    """Return the entry of the registry, or raise :class:`ConfigurationError` naming near matches."""
    if name not in DATASETS:
        raise ConfigurationError(f"unknown data set {name!r}", hint=near_matches(name, DATASETS))
    return DATASETS[name]


def data_hashes(name: str) -> dict[str, str]:
    """Return the SHA-256 that each file of a data set must have, by file name."""
    return {file.name: file.sha256 for file in dataset_named(name).files}


def search_folders(name: str, data_dir: Path | None = None) -> list[Path]:
    """Return the folders in which the files of a data set are looked for, first one first."""
    if dataset_named(name).is_embedded:
        return [Path(__file__).parent / "datasets"]
    provided = os.environ.get(DATA_DIR_VARIABLE, "")
    roots = [Path(provided)] if provided else []
    roots.append(DEFAULT_DATA_DIR if data_dir is None else data_dir)
    return [folder for root in roots for folder in (root / name, root)]


def find_file(file: DataFile, folders: Sequence[Path]) -> Path | None:
    """Return where a file lies, or None. An unpacked copy is preferred where its hash is known."""
    names = [file.name.removesuffix(".gz"), file.name] if file.hashed == "unpacked" else [file.name]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def is_available(name: str, data_dir: Path | None = None) -> bool:
    """Say whether all files of a data set are there; their content is not looked at."""
    folders = search_folders(name, data_dir)
    return all(find_file(file, folders) is not None for file in dataset_named(name).files)


def read_verified(path: Path, file: DataFile, *, dataset: str) -> bytes:
    """Read a file and return its unpacked content after checking its hash.

    Raises
    ------
    DataError
        If the file cannot be read or unpacked, or its hash is not that of the registry.
    """
    import hashlib

    if dataset_named(dataset).is_embedded:
        hint = "This file is part of plmnist: install the package again."
    else:
        hint = f"Delete it and run: plmnist download {dataset}"
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    content = packed
    if path.suffix == ".gz":
        try:
            content = _gunzip(packed)
        except zlib.error as error:
            raise DataError(
                f"{path} is damaged or truncated: {len(packed)} bytes that do not unpack ({error})", hint=hint
            ) from error
    found = hashlib.sha256(content if file.hashed == "unpacked" else packed).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{path} is damaged: its {file.hashed} bytes have SHA-256 {found}, expected {file.sha256}", hint=hint
        )
    return content


def load_train(name: str, data_dir: Path | None = None) -> ImageSet:
    """Return the training part of a data set, verified.

    Parameters
    ----------
    name
        Name in the registry.
    data_dir
        The data folder; None means ``data`` in the current folder.

    Raises
    ------
    DataError
        If a file is missing, truncated or damaged; the message names it and the command that mends it.
    """
    return _load(name, data_dir, part=0)


def load_test(name: str, data_dir: Path | None = None) -> ImageSet:
    """Return the test part of a data set, verified; see :func:`load_train`."""
    return _load(name, data_dir, part=1)


def _load(name: str, data_dir: Path | None, *, part: int) -> ImageSet:
    dataset = dataset_named(name)
    folders = search_folders(name, data_dir)
    files = dataset.files if dataset.is_embedded else dataset.files[2 * part : 2 * part + 2]
    contents = []
    for file in files:
        path = find_file(file, folders)
        if path is None:
            places = ", ".join(str(folder) for folder in folders)
            raise DataError(
                f"{file.name} of data set {name} is in none of: {places}",
                hint=f"Run: plmnist download {name}. Or set {DATA_DIR_VARIABLE} to a folder that has the files.",
            )
        contents.append(read_verified(path, file, dataset=name))
    if dataset.is_embedded:
        return _parse_digits(contents[0], part=part)
    return _parse_idx(contents[0], contents[1], dataset)


def _gunzip(packed: bytes) -> bytes:
    # One call with room for the whole result takes half the time of gzip.open, which works in small pieces. A gzip file
    # ends with the size of its content; a damaged one may claim anything.
    size = int.from_bytes(packed[-4:], "little")
    return zlib.decompress(packed, wbits=31, bufsize=min(max(size, 1), 1 << 28))


def _parse_idx(images: bytes, labels: bytes, dataset: DataSet) -> ImageSet:
    """Read the IDX format: big-endian magic number and sizes, then one byte per value."""
    import numpy as np
    import torch

    header = np.frombuffer(images, ">u4", count=4).tolist()
    n, height, width = header[1:]
    assert len(images) == 16 + n * height * width, "the hash admits no other content"
    # A copy, because tensors are writable and bytes are not.
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(n, 1, height, width).copy()
    classes = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(classes), dataset.full_scale)


def _parse_digits(table: bytes, *, part: int) -> ImageSet:
    """Read the comma-separated table: 64 grey values from 0 to 16 and the class in each row."""
    import numpy as np
    import torch

    values = np.array(table.replace(b"\n", b",").rstrip(b",").split(b","), dtype=np.float32)
    rows = values.reshape(-1, 65)
    rows = rows[:DIGITS_N_TRAIN] if part == 0 else rows[DIGITS_N_TRAIN:]
    pixels = rows[:, :64].astype(np.uint8).reshape(-1, 1, 8, 8)
    classes = rows[:, 64].astype(np.int64)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(classes), DATASETS["digits"].full_scale)
