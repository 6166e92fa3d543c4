"""Descriptions of the data sets that other programs read: Croissant (MLCommons), which is JSON-LD.

Says of each data set what it is called, who made it, under what licence, and where each file lies with which hash. The
names of the vocabulary are those of version 1.0 of the specification.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plmnist.data import dataset_named
from plmnist.registry import DATASETS

__all__ = ["FORMAT", "croissant_bytes", "describe"]

FORMAT = "http://mlcommons.org/croissant/1.0"

_WORDS = (
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in _WORDS.split()},
}
"""The whole context of the specification, which readers compare with theirs."""

_LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "MIT": "https://spdx.org/licenses/MIT",
}


@dataclass(frozen=True)
class _Origin:
    """What is known of a data set besides its files."""

    description: str
    url: str
    published: str
    cite_as: str


_ORIGINS = {
    "mnist": _Origin(
        "60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey values, in the IDX format.",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "1998-11-01",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
        "Proceedings of the IEEE 86(11), 2278-2324, 1998.",
    ),
    "fashion_mnist": _Origin(
        "60,000 training and 10,000 test images of ten kinds of clothes, 28 x 28 grey values, in the IDX format.",
        "https://github.com/zalandoresearch/fashion-mnist",
        "2017-08-25",
        "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning "
        "algorithms. arXiv:1708.07747, 2017.",
    ),
    "kmnist": _Origin(
        "60,000 training and 10,000 test images of ten cursive Japanese characters, 28 x 28 grey values, IDX format.",
        "https://codh.rois.ac.jp/kmnist/",
        "2018-12-03",
        "T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha: Deep learning for classical Japanese "
        "literature. arXiv:1812.01718, 2018.",
    ),
    "digits": _Origin(
        "1,797 images of handwritten digits, 8 x 8 grey values from 0 to 16, one row of comma-separated values each: "
        "64 pixels and the class. The test part of the UCI data set, as scikit-learn distributes it.",
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "1998-07-01",
        "E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998. "
        "doi:10.24432/C50P49",
    ),
}

_PACKED = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""SHA-256 of MNIST's files as published; the registry knows those of their unpacked content."""

assert set(_ORIGINS) == set(DATASETS)


def describe(name: str) -> dict[str, Any]:
    """Return the description of a data set, as a JSON-LD document.

    The file of an embedded data set is named relative to the description; the others by the address of a mirror.

    Raises
    ------
    ConfigurationError
        If there is no such data set.
    """
    dataset, origin = dataset_named(name), _ORIGINS[name]
    base = "" if dataset.is_embedded else dataset.mirrors[0]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": FORMAT,
        "name": name,
        "alternateName": dataset.title,
        "description": origin.description,
        "license": _LICENCES[dataset.licence],
        "url": origin.url,
        "datePublished": origin.published,
        "citeAs": origin.cite_as,
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": f"{base}{file.name}",
                "encodingFormat": "application/gzip",
                "sha256": file.sha256 if file.hashed == "packed" else _PACKED[file.name],
            }
            for file in dataset.files
        ],
    }


def croissant_bytes(name: str) -> dict[str, bytes]:
    """Return the files that describe a data set: the document, and the data themselves if they are embedded."""
    files = {f"{name}.json": (json.dumps(describe(name), indent=2, ensure_ascii=False) + "\n").encode()}
    if DATASETS[name].is_embedded:
        embedded = Path(__file__).parent / "datasets"
        files.update({file.name: (embedded / file.name).read_bytes() for file in DATASETS[name].files})
    return files
