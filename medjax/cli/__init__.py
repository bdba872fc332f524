"""The commands: flags from dataclasses, a console, signals; each calls medjax.pipeline or medjax.report once.

`python -m experiments.NAME` in a clone and the console command `medjax NAME` start the same command, by
`medjax.cli.launch.launch`. Nothing is imported here, so that `medjax.cli.signals` is there before what takes seconds.
"""

import os
import sys

# `python experiments/mtt.py` puts that folder first on the path: its random.py would replace Python's own `random`.
if os.path.basename(sys.path[0]) == "experiments":
    del sys.path[0]
