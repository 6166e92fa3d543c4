"""The ``plmnist`` command: download, train, attack, check.

Says on standard output what became of each folder, one line each, and on standard error how downloads proceed. Exit
status: 0 all well, 1 something failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from plmnist import __version__, results
from plmnist.config import CURVE, OPTIONAL, Configuration
from plmnist.data import DATA_DIR_VARIABLE, DEFAULT_DATA_DIR, dataset_named
from plmnist.errors import ConfigurationError, PlmnistError, near_matches
from plmnist.registry import DATASETS

__all__ = ["main"]

_ENGINES = ("tensor", "lightning")
"""As in plmnist.training.ENGINES, which is not imported here because it imports torch; a test compares them."""

_ATTACKS = ("fgsm", "pgd", "noise")
"""As in plmnist.perturbations.ATTACKS."""

_PGD_OPTIONS = {
    "steps": "of pgd: steps of each attempt (default: 40)",
    "step_size": "of pgd: length of a step in units of epsilon (default: 2.5 / steps)",
    "restarts": "of pgd: attempts per image and epsilon (default: 1)",
}

DEFAULT_CONFIG_NAME = "config.json"

_DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "num_epochs": 10,
    "batch_size": 32,
    "hidden_size": 64,
    "learning_rate": 1e-3,
    "dropout_prob": 0.1,
    "fgsm_epsilon": 0.05,
    "seed": 1,
    **OPTIONAL,
}

_DATA_HELP = f"data folder; a folder named by {DATA_DIR_VARIABLE} is looked at first (default: {DEFAULT_DATA_DIR})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except KeyboardInterrupt:
        print("plmnist: interrupted; what was finished is on the disk", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of standard output has gone; Python would complain about it once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PlmnistError as error:
        if arguments.debug:
            traceback.print_exc()
        _print_error(error)
        return 2 if isinstance(error, ConfigurationError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plmnist",
        description="Train small networks on MNIST-like images and attack them.",
        epilog="plmnist COMMAND --help says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"plmnist {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data-dir", type=Path, metavar="DIR", help=_DATA_HELP)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    many = argparse.ArgumentParser(add_help=False)
    many.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds a configuration")
    many.add_argument(
        "--config-name",
        default=DEFAULT_CONFIG_NAME,
        metavar="FILE",
        help="file name of the configuration in each folder, JSON (default: %(default)s)",
    )
    many.add_argument("--force", action="store_true", help="do it again where it has been done")
    many.add_argument(
        "--report", default="", metavar="FILE", help="append start and end of each folder to this file, JSON lines"
    )

    download = commands.add_parser(
        "download",
        parents=[common],
        help="fetch data sets and verify them",
        description="Fetch data sets and verify every file; what is there already is not fetched again.",
    )
    download.add_argument("datasets", nargs="+", metavar="DATASET", help=", ".join(DATASETS))
    download.add_argument(
        "--mirror", action="append", default=[], metavar="URL", help="address to try before the known ones"
    )
    download.set_defaults(command=_download)

    train = commands.add_parser(
        "train",
        parents=[common, many],
        help="train and test networks",
        description="Train and test the network of each folder, or of one configuration given by options. Folders that "
        "are finished are left alone; equal networks are trained once.",
    )
    train.add_argument("--engine", default="tensor", help=f"{' or '.join(_ENGINES)} (default: %(default)s)")
    options = train.add_argument_group("one configuration, instead of folders")
    options.add_argument("--output", metavar="DIR", help="folder for the configuration and its results")
    for name, default in _DEFAULTS.items():
        options.add_argument(
            f"--{name.replace('_', '-')}", metavar="X", type=_number_or_text, help=f"default: {default}"
        )
    train.set_defaults(command=_train)

    attack = commands.add_parser(
        "attack",
        parents=[common, many],
        help="attack trained networks",
        description="Attack the trained network of each folder, at the epsilon of its configuration and at "
        f"{', '.join(f'{epsilon:g}' for epsilon in CURVE)}.",
    )
    attack.add_argument(
        "--attack",
        default="fgsm",
        metavar="NAME",
        help="fgsm (fast gradient sign), pgd (projected gradient descent) or noise (uniform, the control); the result "
        "is in NAME.json (default: %(default)s)",
    )
    attack.add_argument(
        "--epsilon",
        nargs="+",
        type=float,
        default=[],
        metavar="E",
        help="further budgets for the curve, in pixel units",
    )
    for name, about in _PGD_OPTIONS.items():
        attack.add_argument(f"--{name.replace('_', '-')}", metavar="X", type=_number_or_text, help=about)
    attack.add_argument(
        "--legacy-clamp",
        action="store_true",
        help="compute what the original tutorial called FGSM accuracy, for comparison with old results only: it clips "
        "normalised images to [0, 1]; epsilon is taken in normalised units; the result is in fgsm_legacy.json",
    )
    attack.set_defaults(command=_attack)

    check = commands.add_parser(
        "check",
        parents=[common],
        help="ask whether an evaluation can be believed",
        description="Attack each trained network with FGSM, PGD and noise and say, in a sentence each, what speaks for "
        "or against believing such an evaluation. Exit status 1 if there is a warning.",
    )
    check.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds a trained network")
    check.add_argument("--json", action="store_true", help="print one JSON document")
    check.set_defaults(command=_check)
    return parser


def _download(arguments: argparse.Namespace) -> int:
    from plmnist.download import download

    for name in arguments.datasets:
        dataset_named(name)
    failures: list[PlmnistError] = []
    with _ProgressBar() as progress:
        for name in dict.fromkeys(arguments.datasets):
            try:
                files = download(name, arguments.data_dir, mirrors=arguments.mirror, progress=progress)
            except PlmnistError as error:
                failures.append(error)
                if arguments.debug:
                    traceback.print_exc()
            else:
                for path, fetched in files:
                    print(f"{name}: {path} {'fetched and verified' if fetched else 'verified'}", flush=True)
    for failure in failures:
        _print_error(failure)
    return 1 if failures else 0


def _train(arguments: argparse.Namespace) -> int:
    from plmnist.batch import train_folders

    if arguments.engine not in _ENGINES:
        raise ConfigurationError(f"unknown engine {arguments.engine!r}", hint=near_matches(arguments.engine, _ENGINES))
    given = {name: getattr(arguments, name) for name in _DEFAULTS if getattr(arguments, name) is not None}
    if arguments.output is not None:
        if arguments.folders:
            raise ConfigurationError(
                "--output and folders exclude each other", hint="Give one configuration or folders."
            )
        config = Configuration.from_mapping({**_DEFAULTS, **given})
        arguments.folders = [arguments.output]
        _place_config(Path(arguments.output), arguments.config_name, config, force=arguments.force)
    elif given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise ConfigurationError(f"{option} needs --output", hint="Folders bring their own configuration.")
    with _Report(arguments, verb="trained") as report:
        train_folders(
            _folders(arguments),
            report,
            config_name=arguments.config_name,
            engine=arguments.engine,
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    return report.exit_status


def _attack(arguments: argparse.Namespace) -> int:
    from plmnist.batch import attack_folders

    for epsilon in arguments.epsilon:
        if not 0 <= epsilon <= 1:
            raise ConfigurationError(f"epsilon must be between 0 and 1, in pixel units, not {epsilon:g}")
    if arguments.attack not in _ATTACKS:
        raise ConfigurationError(f"unknown attack {arguments.attack!r}", hint=near_matches(arguments.attack, _ATTACKS))
    if arguments.legacy_clamp:
        if arguments.attack != "fgsm":
            raise ConfigurationError(f"--legacy-clamp and --attack {arguments.attack} exclude each other")
        arguments.attack = "fgsm_legacy"
    settings = {name: getattr(arguments, name) for name in _PGD_OPTIONS if getattr(arguments, name) is not None}
    for name, value in settings.items():
        if arguments.attack != "pgd":
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --attack pgd")
        is_usable = isinstance(value, int) and value >= 1
        if name == "step_size":
            is_usable = not isinstance(value, str) and 0 < value < math.inf
        if not is_usable:
            kind = "a number above 0" if name == "step_size" else "a whole number, at least 1"
            raise ConfigurationError(f"--{name.replace('_', '-')} must be {kind}, not {value!r}")
    if "steps" in settings:
        settings.setdefault("step_size", 2.5 / settings["steps"])
    with _Report(arguments, verb="attacked") as report:
        attack_folders(
            _folders(arguments),
            report,
            config_name=arguments.config_name,
            attack=arguments.attack,
            settings=settings,
            epsilons=arguments.epsilon,
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    return report.exit_status


def _check(arguments: argparse.Namespace) -> int:
    folders = dict.fromkeys(_folders(arguments))
    from plmnist.checks import check_evaluation
    from plmnist.data import load_test

    found: dict[str, list[dict[str, Any]]] = {}
    n_warnings = n_failed = 0
    for folder in folders:
        try:
            dataset = results.load_train(folder)["config"]["dataset"]
            checks = check_evaluation(results.load_network(folder), load_test(dataset, arguments.data_dir))
        except PlmnistError as error:
            if arguments.debug:
                traceback.print_exc()
            n_failed += 1
            _print_error(error)
            continue
        n_warnings += sum(not check.passed for check in checks)
        found[folder] = [{"name": c.name, "passed": c.passed, "sentence": c.sentence} for c in checks]
        if not arguments.json:
            for check in checks:
                print(f"{folder}: {'pass' if check.passed else 'WARNING'}: {check.name}: {check.sentence}", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        line = f"{len(found)} of {len(folders)} folder{'s' if len(folders) != 1 else ''} checked"
        print(f"{line}, {n_warnings} warning{'s' if n_warnings != 1 else ''}")
    return 1 if n_warnings or n_failed else 0


def _folders(arguments: argparse.Namespace) -> list[str]:
    if not arguments.folders:
        raise ConfigurationError("no folder given", hint="See --help.")
    folders: list[str] = arguments.folders
    return folders


def _place_config(folder: Path, config_name: str, config: Configuration, *, force: bool) -> None:
    """Write a configuration given by options into its folder, unless another one lives there."""
    path = folder / config_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not force and results.read_config(path) != config:
            raise ConfigurationError(
                f"{path} holds another configuration", hint="Choose another --output, or replace it with --force."
            )
        results.write_atomically(path, (json.dumps(config.to_mapping(), indent=2) + "\n").encode())
    except OSError as error:
        raise PlmnistError(f"{path} cannot be written: {error.strerror}") from error


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _print_error(error: PlmnistError) -> None:
    print(f"plmnist: {error}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)


class _Report:
    """Tells the user, and whoever follows the report file, what becomes of each folder."""

    def __init__(self, arguments: argparse.Namespace, *, verb: str) -> None:
        self._debug: bool = arguments.debug
        self._verb = verb
        self._done: list[str] = []
        self._failed: list[str] = []
        self._file: IO[bytes] | None = None
        if arguments.report:
            try:
                # Unbuffered: each event is one write, so lines of several processes do not mix.
                self._file = open(arguments.report, "ab", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise PlmnistError(f"{arguments.report} cannot be written: {error.strerror}") from error

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._file is not None:
            self._file.close()
        if kind is not None:
            return
        total = len(self._done) + len(self._failed)
        line = f"{len(self._done)} of {total} folder{'s' if total != 1 else ''} {self._verb}"
        if self._failed:
            line += f"; failed: {', '.join(self._failed)}"
        print(line, flush=True)

    @property
    def exit_status(self) -> int:
        return 1 if self._failed else 0

    def started(self, folder: str) -> None:
        self._append({"folder": folder, "event": "start"})

    def done(self, folder: str, summary: str) -> None:
        self._done.append(folder)
        self._append({"folder": folder, "event": "end", "error": None})
        print(f"{folder}: {summary}", flush=True)

    def failed(self, folder: str, error: Exception) -> None:
        self._failed.append(folder)
        if isinstance(error, PlmnistError):
            text = error.one_line
        elif isinstance(error, OSError):
            text = f"{error.filename or folder}: {error.strerror or error}"
        else:
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = (
                f"this is a bug in plmnist: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            )
            text = " ".join(text.split()) + "; --debug shows more"
        self._append({"folder": folder, "event": "end", "error": text})
        if self._debug:
            traceback.print_exception(error)
        print(f"{folder}: failed: {text}", flush=True)

    def _append(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write((json.dumps(event) + "\n").encode())


class _ProgressBar:
    """Bars for downloads at a terminal; one line per file elsewhere. rich is imported with the first byte."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if not sys.stderr.isatty():
            if done == 0:
                size = f", {total / 1e6:.1f} MB" if total else ""
                print(f"fetching {name}{size}", file=sys.stderr, flush=True)
            return
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
            )
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
