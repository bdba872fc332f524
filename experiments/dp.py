"""Distil a data set with a guarantee: differential privacy.

python -m experiments.dp --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("dp")
