"""Distil a data set by matching training trajectories.

python -m experiments.mtt --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("mtt")
