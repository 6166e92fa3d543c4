"""Many folders in one process: share what can be shared, keep failures apart.

Each folder holds a configuration and receives its results; what one does wrong never stops another. torch is imported
only when something has to be computed.
"""

from plmnist.batch.attack import LEGACY, attack_folders
from plmnist.batch.check import check_folders
from plmnist.batch.folders import Listener
from plmnist.batch.train import train_folders

__all__ = ["LEGACY", "Listener", "attack_folders", "check_folders", "train_folders"]
