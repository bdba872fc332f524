"""The study's Table 1: a resumable sweep over data sets, images per class, methods and seeds, and its table.

python -m experiments.table1 --datasets=bloodmnist,dermamnist --ipcs=1,10,50 --preset=cpu --seeds=3
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("table1")
