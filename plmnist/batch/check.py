"""Check what can be believed of the networks of many folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from plmnist import results
from plmnist.batch.folders import Listener, attempt, existing, require_device, test_parts
from plmnist.provenance import Recorder


def check_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    device: str = "cpu",
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Check the trained network in each folder and write the findings beside it.

    Parameters
    ----------
    folders, device, data_dir
        As for :func:`plmnist.batch.train_folders`; the configuration is that of the training's record.
    force
        Check even what has been checked already.

    Raises
    ------
    ConfigurationError
        If there is no such device.
    """
    recorder = Recorder("checks", listener, device=device)
    shelf = test_parts(data_dir)
    names = list(dict.fromkeys(folders))
    if force or not all(results.is_checked(Path(name)) for name in names):
        require_device(device)
    for name in names:

        def work(name: str = name) -> str:
            folder = existing(name)
            record = results.load_train(folder)
            if not force and results.is_checked(folder):
                checks = results.load_checks(folder)["checks"]
                return f"already checked, {_sentence({check['name']: check['passed'] for check in checks})}"
            from plmnist.checks import check_evaluation
            from plmnist.device import choose_device, device_name

            place = choose_device(device)
            network = results.load_network(folder).to(place)
            found = check_evaluation(network, shelf.get(record["config"]["dataset"]))
            summary = f"checked, {_sentence({check.name: check.passed for check in found})}"
            write = recorder.writer(name, summary)
            results.save_checks(folder, record, found, device=device_name(place), write=write)
            return summary

        recorder.started(name)
        attempt(name, recorder, work)


def _sentence(passed: Mapping[str, bool]) -> str:
    warnings = [name for name in passed if not passed[name]]
    passes = f"{len(passed) - len(warnings)} of {len(passed)} checks passed"
    return f"{passes}; warnings: {', '.join(warnings)}" if warnings else passes
