"""Distil a data set by the best method known for its size.

python -m experiments.best --dataset=phantom --ipc=1
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("best")
