"""Tables, figures and galleries of a run's results. Reads values and draws them; never trains."""

import warnings

# A name in letters that matplotlib's font lacks is drawn as boxes; a line for each letter helps nobody.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
