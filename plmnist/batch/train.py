"""Train the networks of many folders.

Folders that need the same network share one training, and so do trainings that differ only in length; a network that a
neighbouring folder has already is copied.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from plmnist import results
from plmnist.batch.folders import Listener, Shelf, Task, attempt, read_configs, require_device
from plmnist.provenance import Recorder

if TYPE_CHECKING:
    from plmnist.training import Trained, TrainingData


def train_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    config_name: str,
    engine: str = "tensor",
    device: str = "cpu",
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Train the network of each folder, or leave or copy the one that is there.

    Parameters
    ----------
    folders
        Paths; each holds a configuration as JSON.
    config_name
        File name of the configuration in each folder.
    engine
        Name in :data:`plmnist.training.ENGINES`.
    device
        Name in :data:`plmnist.device.DEVICES`. What is finished is left alone wherever it was made.
    data_dir
        Data folder; None means ``data`` in the current folder.
    force
        Train even what is there already.

    Raises
    ------
    ConfigurationError
        If there is no such device.
    """
    recorder = Recorder("train", listener, engine=engine, device=device)
    tasks = []
    for task in read_configs(folders, config_name, recorder):
        if not force and results.complete_training(task.folder, task.config) is not None:
            recorder.started(task.name)
            recorder.done(task.name, f"already trained, {_train_summary(task.folder)}")
        else:
            tasks.append(task)
    if not force:
        tasks = _copy_from_neighbours(tasks, recorder)

    # The order keeps one data set in memory at a time, and its normalised form while the seed is the same.
    trajectories: dict[tuple[str, int, str], list[Task]] = defaultdict(list)
    for task in tasks:
        trajectories[task.config.dataset, task.config.seed, task.config.trajectory_key].append(task)
    if trajectories:
        require_device(device)
    shelf: Shelf[TrainingData] = Shelf(lambda name: _prepare(name, data_dir))
    for key in sorted(trajectories):
        _train_trajectory(trajectories[key], recorder, engine, device, shelf)


def _copy_from_neighbours(tasks: list[Task], listener: Recorder) -> list[Task]:
    """Copy networks that exist in a folder beside the one that needs them; return the tasks that remain."""
    parents: dict[Path, list[Task]] = defaultdict(list)
    for task in tasks:
        parents[Path(os.path.abspath(task.name)).parent].append(task)
    copied = set()
    for parent, children in parents.items():
        found = results.find_trained(parent, [task.config for task in children])
        for task in children:
            files = found.get(task.config.training_key)
            if files is not None:
                copied.add(task.name)
                listener.started(task.name)
                listener.copied(task.name, files.folder)
                attempt(task.name, listener, _saving(task, files, "copied from an equal training"))
    return [task for task in tasks if task.name not in copied]


def _train_trajectory(
    tasks: list[Task], listener: Listener, engine: str, device: str, shelf: Shelf[TrainingData]
) -> None:
    from plmnist.training import train_lengths

    for task in tasks:
        listener.started(task.name)
    waiting = {task.name: task for task in tasks}
    start = time.perf_counter()

    def on_trained(trained: Trained) -> None:
        files = results.TrainFiles.of(trained)
        for task in list(waiting.values()):
            if task.config.training_key == trained.config.training_key:
                del waiting[task.name]
                epochs = trained.config.num_epochs
                elapsed = f"{epochs} epoch{'s' if epochs > 1 else ''}, {time.perf_counter() - start:.1f} s"
                attempt(task.name, listener, _saving(task, files, f"trained in {elapsed}"))

    try:
        data = shelf.get(tasks[0].config.dataset)
        train_lengths([task.config for task in tasks], on_trained, data=data, engine=engine, device=device)
    except Exception as error:
        for task in waiting.values():
            listener.failed(task.name, error)


def _saving(task: Task, files: results.TrainFiles, note: str) -> Callable[[], str]:
    def work() -> str:
        results.save_training(task.folder, files)
        return f"{note}, {_train_summary(task.folder)}"

    return work


def _train_summary(folder: Path) -> str:
    record = results.load_train(folder)
    return f"test accuracy {record['test_acc']:.4f}, validation accuracy {record['val_acc']:.4f}"


def _prepare(name: str, data_dir: Path | None) -> TrainingData:
    from plmnist.training import prepare_data

    return prepare_data(name, data_dir)
