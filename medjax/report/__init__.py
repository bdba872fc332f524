"""Tables, figures and pages of results. Reads results and draws them; never trains."""

import contextlib
import os
import sys

# matplotlib fails at its import where MPLBACKEND names a backend that is not installed, as in the commands that a
# notebook starts. Figures are drawn into files and need none; a backend that is there is kept for the user's own.
if "matplotlib" not in sys.modules and (backend := os.environ.pop("MPLBACKEND", None)):
    import matplotlib

    os.environ["MPLBACKEND"] = backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = backend
