"""Selection of real images that networks get wrong.

python -m experiments.margin --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("margin")
