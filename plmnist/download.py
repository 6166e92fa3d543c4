"""Fetching data sets from their mirrors.

Safe to run several times at once: one process downloads, the others wait for it and find the files. A file gets its
name only after its hash was verified, and a verified file is never fetched again. Downloads go to
``<data folder>/<data set>/``; a folder named by ``PLMNIST_DATA_DIR`` is used if it has the files and never written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from plmnist.data import DEFAULT_DATA_DIR, dataset_named, find_file, read_verified, search_folders
from plmnist.errors import DataError, DownloadError
from plmnist.registry import DataFile, DataSet

__all__ = ["Progress", "download"]

TIMEOUT_S = 30.0
_PIECE = 1 << 16

Progress = Callable[[str, int, int | None], None]
"""Called as ``progress(file name, bytes so far, bytes in all or None)``."""


def download(
    name: str,
    data_dir: Path | None = None,
    *,
    mirrors: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[tuple[Path, bool]]:
    """Make sure that a data set is there, whole and verified.

    Parameters
    ----------
    name
        Name in the registry.
    data_dir
        The data folder; None means ``data`` in the current folder.
    mirrors
        Base addresses to try before the registered ones.
    progress
        Is told how far each download is.

    Returns
    -------
    list of (Path, bool)
        For each file where it lies, and whether it was fetched now.

    Raises
    ------
    DownloadError
        If no mirror delivered a file; the message says what each of them answered.
    DataError
        If a file in the folder named by ``PLMNIST_DATA_DIR`` is damaged: that folder is not ours to mend.
    """
    dataset = dataset_named(name)
    folders = search_folders(name, data_dir)
    if dataset.is_embedded:
        return [(_verified(file, folders, dataset), False) for file in dataset.files]
    target = (DEFAULT_DATA_DIR if data_dir is None else data_dir) / name
    addresses = [base if base.endswith("/") else base + "/" for base in (*mirrors, *dataset.mirrors)]
    found = []
    for file in dataset.files:
        path = _usable(file, folders, target, dataset)
        if path is not None:
            found.append((path, False))
            continue
        try:
            target.mkdir(parents=True, exist_ok=True)
            with _lock(target / ".lock"):
                # Another process may have fetched it while this one waited.
                path = _usable(file, folders, target, dataset)
                if path is not None:
                    found.append((path, False))
                    continue
                found.append((_fetch(file, target, addresses, dataset, progress), True))
        except OSError as error:
            raise DownloadError(
                f"{target} cannot be written: {error.strerror}", hint="Name another folder with --data-dir."
            ) from error
    return found


def _verified(file: DataFile, folders: Sequence[Path], dataset: DataSet) -> Path:
    path = find_file(file, folders)
    if path is None:
        raise DataError(f"{file.name} is missing from the package", hint="Install plmnist again.")
    read_verified(path, file, dataset=dataset.name)
    return path


def _usable(file: DataFile, folders: Sequence[Path], target: Path, dataset: DataSet) -> Path | None:
    """Return where a verified copy lies, or None. A damaged file in `target` counts as missing."""
    path = find_file(file, folders)
    if path is None:
        return None
    try:
        read_verified(path, file, dataset=dataset.name)
    except DataError as error:
        if path.parent == target:
            return None
        raise DataError(
            str(error), hint="That folder is only read here: replace the file, or unset the variable that names it."
        ) from error
    return path


def _fetch(file: DataFile, target: Path, addresses: Sequence[str], dataset: DataSet, progress: Progress | None) -> Path:
    import http.client

    answers = []
    final = target / file.name
    partial = target / f".{file.name}.{os.uname().nodename}.{os.getpid()}.part.gz"
    for base in addresses:
        try:
            _receive(base + file.name, partial, lambda done, total: progress and progress(file.name, done, total))
            read_verified(partial, file, dataset=dataset.name)
        except DataError as error:
            answers.append(f"{base}: {str(error).replace(str(partial), file.name)}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.append(f"{base}: {error or type(error).__name__}")
        else:
            os.replace(partial, final)
            # An unpacked copy would be looked at first; if it were sound, nothing would have been fetched.
            final.with_suffix("").unlink(missing_ok=True)
            _sync_folder(target)
            return final
        finally:
            partial.unlink(missing_ok=True)
    raise DownloadError(
        f"{file.name} of data set {dataset.name} could not be fetched: {'; '.join(answers)}",
        hint="Check the network, name another address with --mirror, or put the files where PLMNIST_DATA_DIR points.",
    )


def _receive(address: str, path: Path, progress: Callable[[int, int | None], object]) -> None:
    import urllib.request

    request = urllib.request.Request(address, headers={"User-Agent": "plmnist"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, open(path, "wb") as stream:
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        done = 0
        progress(done, total)
        while piece := answer.read(_PIECE):
            stream.write(piece)
            done += len(piece)
            progress(done, total)
        if total is not None and done < total:
            raise OSError(f"the connection ended after {done} of {total} bytes")
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that ends with the process, however it ends."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
