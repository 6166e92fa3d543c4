"""``python -m plmnist`` is the ``plmnist`` command."""

import sys

if __name__ == "__main__":
    try:
        from plmnist.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # while modules are imported, before there is work that could say it
        sys.exit(130)
