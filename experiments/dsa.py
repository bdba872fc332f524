"""Distil a data set by gradient matching under one augmentation.

python -m experiments.dsa --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("dsa")
