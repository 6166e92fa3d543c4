from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from plmnist import data as data_module
from plmnist.data import DATA_DIR_VARIABLE, find_file, load_test, load_train, search_folders
from plmnist.errors import ConfigurationError, DataError
from plmnist.registry import DATASETS, DataFile, DataSet


def idx_files(n: int = 7, *, size: int = 5) -> dict[str, bytes]:
    """Return the unpacked content of a tiny data set in IDX format."""
    rng = np.random.default_rng(0)
    files = {}
    for prefix, count in (("train", n), ("t10k", n // 2)):
        pixels = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = struct.pack(">4I", 0x803, count, size, size) + pixels.tobytes()
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">2I", 0x801, count) + labels.tobytes()
    return files


@pytest.fixture(params=["unpacked", "packed"])
def tiny(request, monkeypatch, tmp_path) -> Path:
    """A registered data set `tiny` whose files lie in the folder that is returned."""
    contents = idx_files()
    folder = tmp_path / "given"
    folder.mkdir()
    files = []
    for name, content in contents.items():
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        hashed = content if request.param == "unpacked" else packed
        files.append(DataFile(f"{name}.gz", hashlib.sha256(hashed).hexdigest(), request.param))
    entry = DataSet("tiny", "Tiny", "none", tuple(files), ("http://127.0.0.1:9/",), 255, tuple("0123456789"))
    monkeypatch.setitem(DATASETS, "tiny", entry)
    return folder


def test_images_and_labels_are_what_the_files_say(tiny):
    contents = idx_files()
    train, test = load_train("tiny", tiny), load_test("tiny", tiny)
    assert train.images.shape == (7, 1, 5, 5)
    assert test.images.shape == (3, 1, 5, 5)
    assert train.images.numpy().tobytes() == contents["train-images-idx3-ubyte"][16:]
    assert test.labels.tolist() == list(contents["t10k-labels-idx1-ubyte"][8:])
    pixels = train.pixels()
    assert pixels.dtype.is_floating_point
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert np.array_equal(pixels.numpy() * 255, train.images.numpy())


def test_missing_file_names_places_and_command(tiny, tmp_path):
    (tiny / "t10k-images-idx3-ubyte.gz").unlink()
    load_train("tiny", tiny)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz of data set tiny") as caught:
        load_test("tiny", tiny)
    assert str(tiny / "tiny") in str(caught.value)
    assert "plmnist download tiny" in caught.value.hint
    assert DATA_DIR_VARIABLE in caught.value.hint


def test_truncated_file_is_named(tiny):
    path = tiny / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged or truncated") as caught:
        load_train("tiny", tiny)
    assert str(path) in str(caught.value)
    assert "plmnist download tiny" in caught.value.hint


def test_empty_file_is_named(tiny):
    (tiny / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is damaged or truncated: 0 bytes"):
        load_train("tiny", tiny)


def test_flipped_bit_of_the_content_is_found(tiny):
    path = tiny / "train-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[40] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DataError, match=r"SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"):
        load_train("tiny", tiny)


def test_every_flipped_byte_of_a_packed_file_is_found_or_harmless(tiny):
    path = tiny / "t10k-labels-idx1-ubyte.gz"
    packed = path.read_bytes()
    labels = load_test("tiny", tiny).labels.tolist()
    for position in range(len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 0x10
        path.write_bytes(bytes(damaged))
        try:
            found = load_test("tiny", tiny).labels.tolist()
        except DataError:
            continue
        # Time and system in the header of a gzip file may be anything, if only the content is hashed.
        assert found == labels


def test_recompressed_file_is_accepted_where_the_unpacked_hash_is_known(tiny):
    path = tiny / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=5))
    if DATASETS["tiny"].files[0].hashed == "unpacked":
        assert len(load_train("tiny", tiny)) == 7
    else:
        with pytest.raises(DataError, match="its packed bytes have SHA-256"):
            load_train("tiny", tiny)


def test_unpacked_files_are_used_where_their_hash_is_known(tiny):
    for path in list(tiny.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    if DATASETS["tiny"].files[0].hashed == "unpacked":
        assert len(load_test("tiny", tiny)) == 3
    else:
        with pytest.raises(DataError, match="is in none of"):
            load_test("tiny", tiny)


def test_folder_of_the_variable_is_first_and_subfolder_before_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "env"))
    assert search_folders("tiny", tmp_path / "own") == [
        tmp_path / "env" / "tiny",
        tmp_path / "env",
        tmp_path / "own" / "tiny",
        tmp_path / "own",
    ]
    file = DATASETS["tiny"].files[0]
    shutil.copytree(tiny, tmp_path / "own")
    assert find_file(file, search_folders("tiny", tmp_path / "own")) == tmp_path / "own" / file.name
    shutil.copytree(tiny, tmp_path / "env")
    assert find_file(file, search_folders("tiny", tmp_path / "own")) == tmp_path / "env" / file.name
    shutil.copytree(tiny, tmp_path / "env" / "tiny")
    assert find_file(file, search_folders("tiny", tmp_path / "own")) == tmp_path / "env" / "tiny" / file.name


def test_default_data_folder_is_data_in_the_current_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, tmp_path / "data" / "tiny")
    assert len(load_train("tiny")) == 7


def test_unknown_data_set_names_near_match():
    with pytest.raises(ConfigurationError, match="unknown data set 'mnst'") as caught:
        load_train("mnst")
    assert "'mnist'" in caught.value.hint


def test_digits_are_divided_80_to_20_and_complete(digits):
    assert len(digits.train) == 1438
    assert len(digits.test) == 359
    assert digits.train.images.shape[1:] == (1, 8, 8)
    assert digits.train.images.max() == digits.train.full_scale == 16
    # A first look at the table: its first row is a zero, its last an eight; every class is in both parts.
    assert digits.train.labels[:3].tolist() == [0, 1, 2]
    assert digits.test.labels[-1] == 8
    assert digits.train.images[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert set(digits.train.labels.tolist()) == set(digits.test.labels.tolist()) == set(range(10))


def test_digits_equal_those_of_scikit_learn(digits):
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not a dependency")
    theirs = sklearn.load_digits()
    ours = np.concatenate([part.images.flatten(1).numpy() for part in (digits.train, digits.test)])
    labels = np.concatenate([part.labels.numpy() for part in (digits.train, digits.test)])
    assert np.array_equal(ours, theirs.data)
    assert np.array_equal(labels, theirs.target)


def test_digits_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "nowhere"))
    assert len(load_test("digits", tmp_path)) == 359


def test_real_mnist_is_read(mnist):
    assert mnist.train.images.shape == (60000, 1, 28, 28)
    assert mnist.test.images.shape == (10000, 1, 28, 28)
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # The published mean and standard deviation of the training images.
    pixels = mnist.train.images.double() / 255
    assert round(float(pixels.mean()), 4) == 0.1307
    assert round(float(pixels.std()), 4) == 0.3081


def test_gunzip_refuses_what_gzip_refuses():
    import zlib

    packed = gzip.compress(b"abc" * 100)
    assert data_module._gunzip(packed) == b"abc" * 100
    with pytest.raises(zlib.error):
        data_module._gunzip(packed[:-1])
    with pytest.raises(zlib.error):
        data_module._gunzip(b"no gzip")
