"""Launchers, and the stages that they call."""

import sys

# So it is while `python -m experiments.NAME` imports what NAME needs, some seconds.
if sys.argv[:1] == ["-m"]:
    from experiments.signals import before_launch

    before_launch()
