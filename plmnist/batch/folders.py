"""What working through folders has in common: who is told, what is read, what is kept in memory meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from plmnist import results
from plmnist.config import Configuration
from plmnist.errors import PlmnistError, ResultError

if TYPE_CHECKING:
    from plmnist.data import ImageSet

T = TypeVar("T")


class Listener(Protocol):
    """Is told about the fate of each folder, named as the caller named it."""

    def started(self, folder: str) -> None:
        """The work for a folder begins."""

    def done(self, folder: str, summary: str) -> None:
        """The folder's results are on the disk; `summary` says what they are."""

    def failed(self, folder: str, error: Exception) -> None:
        """The folder has no results. Anything but a PlmnistError or an OSError is a bug."""


@dataclass(frozen=True)
class Task:
    """A folder, named as the caller named it, and its configuration."""

    name: str
    config: Configuration

    @property
    def folder(self) -> Path:
        return Path(self.name)


def read_configs(folders: Iterable[str], config_name: str, listener: Listener) -> list[Task]:
    """Return a task for each folder, each once; the listener is told of those without a usable configuration."""
    tasks = []
    for name in dict.fromkeys(folders):
        try:
            tasks.append(Task(name, results.read_config(existing(name) / config_name)))
        except Exception as error:
            listener.started(name)
            listener.failed(name, error)
    return tasks


def existing(name: str) -> Path:
    """Return the path of a folder, or raise :class:`ResultError` if it is none."""
    if not Path(name).is_dir():
        raise ResultError(f"{name} is not a folder", hint="Name existing folders.")
    return Path(name)


def require_device(name: str) -> None:
    """Raise if the device does not exist: one error for the whole call instead of one for each folder."""
    from plmnist.device import choose_device

    choose_device(name)


def attempt(name: str, listener: Listener, work: Callable[[], str]) -> None:
    """Do the work for a folder that was started, and tell its summary or its failure."""
    try:
        summary = work()
    except Exception as error:
        listener.failed(name, error)
    else:
        listener.done(name, summary)


@dataclass
class Shelf(Generic[T]):
    """Keeps the last data set that was loaded, or the reason why that failed."""

    load: Callable[[str], T]
    _name: str | None = None
    _content: T | PlmnistError | None = field(default=None)

    def get(self, name: str) -> T:
        if name != self._name:
            self._content = None  # before loading the next, so that there is never more than one in memory
            try:
                self._content = self.load(name)
            except PlmnistError as error:
                self._content = error
            self._name = name
        if isinstance(self._content, PlmnistError):
            raise self._content
        assert self._content is not None
        return self._content


def test_parts(data_dir: Path | None) -> Shelf[ImageSet]:
    """Return a shelf of test parts."""

    def load(name: str) -> ImageSet:
        from plmnist.data import load_test

        return load_test(name, data_dir)

    return Shelf(load)
