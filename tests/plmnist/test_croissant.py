from __future__ import annotations

import hashlib
import json

import pytest

from plmnist.croissant import FORMAT, croissant_bytes, describe
from plmnist.registry import DATASETS


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_data_set_is_described_without_an_objection_of_the_reference_implementation(name, tmp_path):
    import mlcroissant

    path = tmp_path / f"{name}.json"
    path.write_bytes(croissant_bytes(name)[f"{name}.json"])
    metadata = mlcroissant.Dataset(jsonld=path).metadata
    assert metadata.ctx.issues.errors == set()
    assert metadata.ctx.issues.warnings == set()
    assert metadata.name == name
    assert [file.name for file in metadata.distribution] == [file.name for file in DATASETS[name].files]


def test_embedded_data_lie_beside_their_description_with_the_hash_it_names():
    files = croissant_bytes("digits")
    (file,) = json.loads(files["digits.json"])["distribution"]
    assert hashlib.sha256(files[file["contentUrl"]]).hexdigest() == file["sha256"]


def test_addresses_are_those_of_the_mirror_and_a_document_says_its_version():
    about = describe("kmnist")
    assert about["conformsTo"] == FORMAT
    assert all(file["contentUrl"].startswith(DATASETS["kmnist"].mirrors[0]) for file in about["distribution"])
