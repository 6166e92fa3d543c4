"""Result files: what a folder holds, how it is written, verified and read.

Every file is written whole or not at all: to a temporary name in the same folder, flushed to the disk, then renamed.
``train.json`` is the last file of a training and ``fgsm.json`` the last of FGSM; each names the SHA-256 of the
files it belongs to. The bytes depend on configuration, data and code only: no times, paths or host names.

Reading and verifying needs no torch; only :func:`load_network` imports it.
"""

from plmnist.results.attacks import (
    attack_record,
    is_attacked,
    load_attack,
    load_examples,
    load_outcomes,
    pack_arrays,
    pack_examples,
    pack_outcomes,
    save_attack,
)
from plmnist.results.checks import is_checked, load_checks, save_checks
from plmnist.results.files import write_atomically, write_in_order
from plmnist.results.records import (
    ATTACK_FILES,
    ATTACK_FORMAT,
    ATTACK_RECORD,
    ATTACK_RECORDS,
    CHECK_FORMAT,
    CHECKS,
    EXAMPLES,
    FIGURE,
    FORMAT,
    FORMATS,
    HISTORY,
    MODEL,
    TRAIN_RECORD,
    load_record,
    read_config,
)
from plmnist.results.training import (
    TrainFiles,
    complete_training,
    find_trained,
    load_network,
    load_train,
    save_training,
)

__all__ = [
    "ATTACK_FILES",
    "ATTACK_FORMAT",
    "ATTACK_RECORD",
    "ATTACK_RECORDS",
    "CHECKS",
    "CHECK_FORMAT",
    "EXAMPLES",
    "FIGURE",
    "FORMAT",
    "FORMATS",
    "HISTORY",
    "MODEL",
    "TRAIN_RECORD",
    "TrainFiles",
    "attack_record",
    "complete_training",
    "find_trained",
    "is_attacked",
    "is_checked",
    "load_attack",
    "load_checks",
    "load_examples",
    "load_network",
    "load_outcomes",
    "load_record",
    "load_train",
    "pack_arrays",
    "pack_examples",
    "pack_outcomes",
    "read_config",
    "save_attack",
    "save_checks",
    "save_training",
    "write_atomically",
    "write_in_order",
]
