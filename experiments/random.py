"""The baseline: networks trained on random real images.

python -m experiments.random --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("random")
