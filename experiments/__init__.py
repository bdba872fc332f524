"""The commands of a clone: `python -m experiments.NAME` starts the command NAME of `medjax.cli`."""

import sys

# So it is while `python -m experiments.NAME` imports what NAME needs, which takes seconds: a stop is one line then too.
if sys.argv[:1] == ["-m"]:
    from medjax.cli.signals import before_launch

    before_launch()
