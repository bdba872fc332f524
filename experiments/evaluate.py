"""Score any saved distilled set on a data set's test split.

python -m experiments.evaluate --synthetic=runs/.../synthetic.npz --dataset=phantom
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("evaluate")
