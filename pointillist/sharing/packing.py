"""Archives: many files as one, with the same bytes for the same content; and back, trusting nothing.

Names are sorted, times and owners left out. Every archive holds a list of the SHA-256 of all its other files.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pointillist.errors import PointillistError

MANIFEST = "MANIFEST.sha256"
SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar.xz", ".tar")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PIECE = 1 << 20

Content = Path | bytes
"""A file of an archive: where it lies, or what is in it."""


class ArchiveError(PointillistError, ValueError):
    """A file is no archive of a study, or a damaged or a dangerous one."""

    exit_code = 1


def suffix_of(path: Path) -> str:
    """Return the suffix that says of what kind an archive is.

    Raises
    ------
    ArchiveError
        When there is no such kind.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise ArchiveError(f"{path.name} has no known suffix.", hint=f"Known: {', '.join(SUFFIXES)}.")


def pack(path: Path, files: Mapping[str, Content]) -> None:
    """Write an archive, whole or not at all.

    Parameters
    ----------
    path
        The archive; nothing must be there.
    files
        What it holds, by path within it; the list of hashes is added.
    """
    suffix = suffix_of(path)
    if path.exists():
        raise ArchiveError(f"{path} is there already; nothing was written.", hint="Name another file, or move it away.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    hashes: list[str] = []
    try:
        with open(temporary, "wb") as file:
            with _zip(file) if suffix == ".zip" else _tar(file, suffix) as add:
                for name in sorted(files):
                    content = files[name]
                    data = content if isinstance(content, bytes) else content.read_bytes()
                    executable = isinstance(content, Path) and bool(content.stat().st_mode & stat.S_IXUSR)
                    hashes.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
                    add(name, data, 0o755 if executable else 0o644)
                add(MANIFEST, "".join(hashes).encode(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _zip(file: IO[bytes]) -> Iterator[Any]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, data: bytes, mode: int) -> None:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix: the mode counts
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, data)

        yield add


@contextlib.contextmanager
def _tar(file: IO[bytes], suffix: str) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        target: Any = file
        if suffix in (".tar.gz", ".tgz"):
            target = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        elif suffix == ".tar.xz":
            target = stack.enter_context(lzma.open(file, "wb"))
        archive = stack.enter_context(tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT))

        def add(name: str, data: bytes, mode: int) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))

        yield add


def unpack(path: Path, target: Path) -> list[str]:
    """Unpack an archive into a new folder, and verify every file.

    The folder appears when everything is there and sound, or not at all.

    Parameters
    ----------
    path
        The archive.
    target
        The folder to make; nothing, or an empty folder, must be there.

    Returns
    -------
    list of str
        The paths of the files.

    Raises
    ------
    ArchiveError
        When something is in the way; when a name leads out of the folder; when something is no plain file; when a file
        is damaged, missing or in excess.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise ArchiveError(f"{target} is there already; nothing was written.", hint="Name a new folder.")
    if not path.is_file():
        raise ArchiveError(f"There is no file {path}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder.chmod(0o777 & ~_umask())
        try:
            found = _extract(path, folder)
        except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as e:
            if isinstance(e, ArchiveError):
                raise
            raise ArchiveError(f"{path.name} can't be read: {e}", hint="Get it once more.") from e
        _verify(path, folder, found)
        os.replace(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sorted(found)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _extract(path: Path, folder: Path) -> dict[str, str]:
    """Write all files of an archive and return their hashes."""
    found: dict[str, str] = {}
    for name, mode, stream in _zipped(path) if suffix_of(path) == ".zip" else _tarred(path):
        if name in found:
            raise ArchiveError(f"{path.name} holds {name!r} twice.")
        place = folder / _safe(path, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with open(place, "xb") as file:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                file.write(piece)
        place.chmod((0o777 if mode & stat.S_IXUSR else 0o666) & ~_umask())
        found[name] = digest.hexdigest()
    return found


def _zipped(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                _safe(path, info.filename)
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise ArchiveError(f"{path.name} holds {info.filename!r}, which is no plain file.")
            with archive.open(info) as stream:
                yield info.orig_filename, mode, stream


def _tarred(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(path) as archive:
        for info in archive:
            if info.isdir():
                _safe(path, info.name)
                continue
            if not info.isreg():
                raise ArchiveError(f"{path.name} holds {info.name!r}, which is no plain file.")
            stream = archive.extractfile(info)
            assert stream is not None
            yield info.name, info.mode, stream


def _safe(path: Path, name: str) -> str:
    """Return a name that stays within the folder."""
    pure = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ArchiveError(f"{path.name} holds {name!r}, a name that leads out of the folder; nothing was written.")
    return name


def _verify(path: Path, folder: Path, found: Mapping[str, str]) -> None:
    """Hold what was unpacked against the list of hashes."""
    if MANIFEST not in found:
        raise ArchiveError(f"{path.name} is no archive of a study: it lacks {MANIFEST}.")
    named: dict[str, str] = {}
    for line in (folder / MANIFEST).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        named[name] = digest
    for name in sorted({*named, *found} - {MANIFEST}):
        if name not in found:
            raise ArchiveError(f"{path.name} lacks {name}, which its {MANIFEST} names.", hint="Get it once more.")
        if name not in named:
            raise ArchiveError(f"{path.name} holds {name}, which its {MANIFEST} does not name.")
        if found[name] != named[name]:
            raise ArchiveError(
                f"{path.name}: {name} is damaged: its SHA-256 is {found[name]}, expected {named[name]}.",
                hint="Get it once more.",
            )
