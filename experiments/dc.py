"""Distil a data set by gradient matching.

python -m experiments.dc --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("dc")
