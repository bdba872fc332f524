"""The stronger baseline: networks trained on representative real images.

python -m experiments.kmeans --dataset=phantom --ipc=1 --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("kmeans")
