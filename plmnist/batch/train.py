"""Train the networks of many folders.

Folders that need the same network share one training, and so do trainings that differ only in length; a network that a
neighbouring folder has already is copied.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist import results
from plmnist.batch.folders import Listener, Shelf, Task, attempt, read_configs, require_device
from plmnist.batch.writers import Writers
from plmnist.config import STACKED, can_be_stacked
from plmnist.provenance import Recorder

if TYPE_CHECKING:
    from plmnist.course import Trained
    from plmnist.training_data import TrainingData


def train_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    config_name: str,
    engine: str = "tensor",
    stack_size: int | None = None,
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
        Name in :data:`plmnist.config.ENGINES`. What the stacked engine can't train, ``tensor`` trains alone.
    stack_size
        Of the stacked engine: networks to train at once, at most; None means as many as fit the memory.
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
            recorder.done(task.name, f"already trained, {_summary(results.load_train(task.folder))}")
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
    shapes: dict[tuple[str, int, int], list[_Trajectory]] = defaultdict(list)
    for key in sorted(trajectories):
        config = trajectories[key][0].config
        if engine == STACKED and can_be_stacked(config):
            shape = config.dataset, config.batch_size, config.hidden_size
            shapes[shape].append(_Trajectory(trajectories[key], recorder, STACKED))
        else:
            alone = "tensor" if engine == STACKED else engine
            _train_alone(_Trajectory(trajectories[key], recorder, alone), device, shelf)
    for shape in sorted(shapes):
        _train_together(shapes[shape], device, shelf, stack_size)


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
                attempt(task.name, listener, functools.partial(_copy, task, files, listener))
    return [task for task in tasks if task.name not in copied]


class _Trajectory:
    """Folders whose networks differ in the number of epochs only, so that one training serves them all."""

    def __init__(self, tasks: list[Task], listener: Recorder, engine: str) -> None:
        self.configs = [task.config for task in tasks]
        self.engine = engine
        self._waiting = {task.name: task for task in tasks}
        self._listener = listener
        self._start_s = 0.0

    def started(self) -> None:
        """Tell that the training begins."""
        self._start_s = time.perf_counter()
        for name in self._waiting:
            self._listener.started(name, engine=self.engine)

    def trained(self, trained: Trained, writers: Writers | None = None) -> None:
        """Save a result in the folders that wait for it, now or by the writers."""
        epochs = trained.config.num_epochs
        note = f"trained in {epochs} epoch{'s' if epochs > 1 else ''}, {time.perf_counter() - self._start_s:.1f} s"
        waiting = [t for t in self._waiting.values() if t.config.training_key == trained.config.training_key]

        def save() -> None:
            files = functools.cache(lambda: results.TrainFiles.of(trained))
            for task in waiting:
                attempt(task.name, self._listener, functools.partial(_save, task, files, note, self._listener))

        if writers is not None:
            writers.add(save)
        for task in waiting:
            del self._waiting[task.name]
        if writers is None:
            save()

    def failed(self, error: Exception) -> None:
        """Tell that the folders which still wait will get nothing."""
        for name in self._waiting:
            self._listener.failed(name, error)
        self._waiting.clear()


def _train_alone(trajectory: _Trajectory, device: str, shelf: Shelf[TrainingData]) -> None:
    from plmnist.training import train_lengths

    trajectory.started()
    try:
        data = shelf.get(trajectory.configs[0].dataset)
        train_lengths(trajectory.configs, trajectory.trained, data=data, engine=trajectory.engine, device=device)
    except Exception as error:
        trajectory.failed(error)


def _train_together(
    trajectories: list[_Trajectory], device: str, shelf: Shelf[TrainingData], stack_size: int | None
) -> None:
    """Train networks of equal shape, as many at once as fit the memory, or `stack_size`."""
    from plmnist.stacked_engine import stack_limit

    config = trajectories[0].configs[0]
    try:
        data = shelf.get(config.dataset)
        size = stack_limit(config, data, device) if stack_size is None else stack_size
    except Exception as error:
        for trajectory in trajectories:
            trajectory.started()
            trajectory.failed(error)
        return
    # Networks that need equally many epochs leave a stack together.
    ordered = sorted(trajectories, key=lambda trajectory: -max(config.num_epochs for config in trajectory.configs))
    for start in range(0, len(ordered), size):
        _train_stack(ordered[start : start + size], data, device)


def _train_stack(stack: list[_Trajectory], data: TrainingData, device: str) -> None:
    from plmnist.stacked_engine import train_stack

    for trajectory in stack:
        trajectory.started()
    with Writers() as writers:
        try:
            train_stack(
                [trajectory.configs for trajectory in stack],
                lambda position, trained: stack[position].trained(trained, writers),
                lambda position, error: stack[position].failed(error),
                data=data,
                device=device,
            )
        except Exception as error:
            for trajectory in stack:
                trajectory.failed(error)


def _copy(task: Task, files: results.TrainFiles, recorder: Recorder) -> str:
    return _save(task, lambda: files, "copied from an equal training", recorder)


def _save(task: Task, files: Callable[[], results.TrainFiles], note: str, recorder: Recorder) -> str:
    summary = f"{note}, {_summary(json.loads(files().record))}"
    results.save_training(task.folder, files(), write=recorder.writer(task.name, summary))
    return summary


def _summary(record: Mapping[str, Any]) -> str:
    return f"test accuracy {record['test_acc']:.4f}, validation accuracy {record['val_acc']:.4f}"


def _prepare(name: str, data_dir: Path | None) -> TrainingData:
    from plmnist.training import prepare_data

    return prepare_data(name, data_dir)
