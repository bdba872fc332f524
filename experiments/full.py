"""The upper bound: networks trained on all real images.

python -m experiments.full --dataset=phantom --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("full")
