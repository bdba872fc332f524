"""Train expert trajectories alone; `experiments.mtt` with the same values finds them.

python -m experiments.experts --dataset=phantom --preset=quick
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("experts")
