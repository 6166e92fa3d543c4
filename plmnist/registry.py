"""The data sets this package knows: their files, hashes, mirrors and licences.

This is the one place to edit in order to add a data set. It holds facts only: reading files is the business of
:mod:`plmnist.data`, fetching them that of :mod:`plmnist.download`.

Sources of the hashes: the MNIST sums are those of the unpacked IDX files, so that a recompressed copy is recognised;
for the other two only the sums of the published ``.gz`` files are known, and those are what is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DATASETS", "DataFile", "DataSet"]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes
    ----------
    name
        File name as published, ending in ``.gz``.
    sha256
        Expected hash, in hexadecimal.
    hashed
        Which bytes `sha256` is taken of: the ``unpacked`` content or the ``packed`` file as published.
    """

    name: str
    sha256: str
    hashed: Literal["unpacked", "packed"]


@dataclass(frozen=True)
class DataSet:
    """A labelled set of grey-scale images of ten classes, divided into a training and a test part.

    Attributes
    ----------
    files
        Training images, training labels, test images, test labels; or the one embedded table.
    mirrors
        Base addresses ending in ``/``, in the order in which they are tried; empty for an embedded data set.
    full_scale
        The integer grey value that is pixel value 1.0.
    classes
        What the labels 0 to 9 stand for.
    """

    name: str
    title: str
    licence: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...]
    full_scale: int
    classes: tuple[str, ...]

    @property
    def is_embedded(self) -> bool:
        """Whether the data set is part of this package and needs no download."""
        return not self.mirrors


_DIGITS = tuple("0123456789")


def _idx_files(hashed: Literal["unpacked", "packed"], *sums: str) -> tuple[DataFile, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(DataFile(f"{n}-ubyte.gz", s, hashed) for n, s in zip(names, sums, strict=True))


DATASETS: dict[str, DataSet] = {
    "mnist": DataSet(
        name="mnist",
        title="MNIST handwritten digits (LeCun, Cortes, Burges)",
        licence="CC BY-SA 3.0",
        files=_idx_files(
            "unpacked",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        full_scale=255,
        classes=_DIGITS,
    ),
    "fashion_mnist": DataSet(
        name="fashion_mnist",
        title="Fashion-MNIST, pictures of clothes (Xiao, Rasul, Vollgraf 2017)",
        licence="MIT",
        files=_idx_files(
            "packed",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        full_scale=255,
        classes=(
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "boot",
        ),
    ),
    "kmnist": DataSet(
        name="kmnist",
        title="Kuzushiji-MNIST, cursive Japanese characters (Clanuwat et al. 2018)",
        licence="CC BY-SA 4.0",
        files=_idx_files(
            "packed",
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        full_scale=255,
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "digits": DataSet(
        name="digits",
        title="Optical recognition of handwritten digits, 8 x 8 (Alpaydin, Kaynak 1998)",
        licence="CC BY 4.0",
        files=(
            DataFile(
                "digits.csv.gz",
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
                "packed",
            ),
        ),
        mirrors=(),
        full_scale=16,
        classes=_DIGITS,
    ),
}
