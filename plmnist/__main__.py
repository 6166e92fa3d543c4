"""``python -m plmnist`` is the ``plmnist`` command."""

import sys

from plmnist.cli import main

if __name__ == "__main__":
    sys.exit(main())
