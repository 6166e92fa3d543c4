from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from pointillist.sharing.packing import MANIFEST, SUFFIXES, ArchiveError, pack, unpack

FILES = {"b/two.txt": b"2", "a.txt": b"1" * 5000, "b/c/drei ü.txt": "ü".encode()}


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_come_back_and_equal_files_give_equal_bytes(tmp_path, suffix):
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    pack(first, {**FILES, "run.sh": script})
    os.utime(script, (0, 0))
    pack(second, {"run.sh": script, **dict(reversed(FILES.items()))})
    assert first.read_bytes() == second.read_bytes()
    names = unpack(first, tmp_path / "out")
    assert names == sorted([*FILES, "run.sh", MANIFEST])
    found = tree(tmp_path / "out")
    assert {name: found[name] for name in FILES} == FILES
    assert (tmp_path / "out/run.sh").stat().st_mode & stat.S_IXUSR
    assert not (tmp_path / "out/a.txt").stat().st_mode & stat.S_IXUSR


def test_manifest_is_what_sha256sum_reads(tmp_path):
    pack(tmp_path / "a.zip", FILES)
    unpack(tmp_path / "a.zip", tmp_path / "out")
    subprocess.run(
        ["sha256sum", "--check", "--strict", MANIFEST], cwd=tmp_path / "out", check=True, capture_output=True
    )


def test_nothing_is_overwritten(tmp_path):
    pack(tmp_path / "a.zip", FILES)
    with pytest.raises(ArchiveError, match="is there already"):
        pack(tmp_path / "a.zip", FILES)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for target in ("full", "link", "a.zip"):
        before = tree(tmp_path)
        with pytest.raises(ArchiveError, match="is there already"):
            unpack(tmp_path / "a.zip", tmp_path / target)
        assert tree(tmp_path) == before
    (tmp_path / "empty").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "empty")
    assert (tmp_path / "empty/a.txt").exists()


@pytest.mark.parametrize("at", [60, -60, 2000])
def test_a_cut_or_damaged_archive_leaves_nothing(tmp_path, at):
    pack(tmp_path / "a.tar", FILES)
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[at] ^= 4
    (tmp_path / "flipped.tar").write_bytes(bytes(content))
    (tmp_path / "cut.tar").write_bytes(bytes(content[:3000]))
    for name in ("cut.tar",) if at == -60 else ("cut.tar", "flipped.tar"):  # the end of a tar is padding
        with pytest.raises(ArchiveError):
            unpack(tmp_path / name, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "cut.tar", "flipped.tar"]


def write_zip(path: Path, entries: dict[str, bytes], *, manifest: bool = True, mode: int = 0o100644) -> None:
    import hashlib

    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data)
        lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in entries.items())
        if manifest:
            archive.writestr(MANIFEST, lines)


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/pointillist-out.txt", "a/../../out.txt", "a\\..\\out.txt", ".."])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused(tmp_path, name, kind):
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        write_zip(path, {name: b"x"})
    else:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ArchiveError, match="leads out of the folder"):
        unpack(path, tmp_path / "sub/out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [path.name, "sub"]
    assert not Path("/tmp/pointillist-out.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        info = tarfile.TarInfo("innocent")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="no plain file"):
        unpack(tmp_path / "bad.tar", tmp_path / "out")
    write_zip(tmp_path / "bad.zip", {"innocent": b"/etc/passwd"}, mode=0o120777)
    with pytest.raises(ArchiveError, match="no plain file"):
        unpack(tmp_path / "bad.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_list_of_hashes_must_be_there_and_name_every_file_once(tmp_path):
    write_zip(tmp_path / "without.zip", FILES, manifest=False)
    with pytest.raises(ArchiveError, match="no archive of a study"):
        unpack(tmp_path / "without.zip", tmp_path / "out")
    write_zip(tmp_path / "more.zip", FILES)
    with zipfile.ZipFile(tmp_path / "more.zip", "a") as archive:
        archive.writestr("more.txt", "x")
    with pytest.raises(ArchiveError, match=r"holds more\.txt, which its MANIFEST\.sha256 does not name"):
        unpack(tmp_path / "more.zip", tmp_path / "out")
    write_zip(tmp_path / "fewer.zip", {MANIFEST: b"0" * 64 + b"  gone.txt\n"}, manifest=False)
    with pytest.raises(ArchiveError, match=r"lacks gone\.txt"):
        unpack(tmp_path / "fewer.zip", tmp_path / "out")


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(ArchiveError, match="can't be read"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(ArchiveError, match="no known suffix") as caught:
        pack(tmp_path / "a.rar", FILES)
    assert ".zip" in caught.value.hint
    with pytest.raises(ArchiveError, match="There is no file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
