"""Distil a data set by matching features of expert networks.

python -m experiments.tgdd --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("tgdd")
