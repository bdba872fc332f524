"""A finished run -> a bundle: a folder with images, card, scores and checksums that others load in one line.

python -m experiments.share --run=RUN --out=BUNDLE
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("share")
