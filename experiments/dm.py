"""Distil a data set by matching mean features of random networks.

python -m experiments.dm --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("dm")
