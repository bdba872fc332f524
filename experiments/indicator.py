"""Is this set worth distilling? Trains on random real images alone, and forecasts what distillation would gain.

python -m experiments.indicator --dataset=my.npz
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("indicator")
