"""The science of the study: MNIST-like data, a small network, FGSM, honest evaluation.

Importing this package imports neither torch nor anything else that is heavy. The parts:

* :class:`plmnist.config.Configuration` checks and normalises one point of a study.
* :func:`plmnist.training.train` trains a network, :func:`plmnist.attacks.attack_fgsm` attacks it.
* :mod:`plmnist.results` writes and reads result folders; :mod:`plmnist.batch` works through many of them.
* :func:`to_dataframe` reads the results of many folders; :mod:`plmnist.statistics` sums them up over seeds.
* :mod:`plmnist.download` fetches data sets, :mod:`plmnist.data` reads and verifies them.
"""

__version__ = "0.1.0"

from plmnist.measurements import to_dataframe

__all__ = ["to_dataframe"]
