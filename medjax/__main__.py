"""``python -m medjax COMMAND`` and the console command ``medjax COMMAND``."""

import sys

# A stop is one line also while what a command needs is imported, which takes seconds.
from medjax.cli.signals import before_launch

before_launch()


def main() -> None:
    """Start the command that the first word names."""
    from medjax.cli.launch import main

    main()


if __name__ == "__main__":
    sys.exit(main())
