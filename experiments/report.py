"""Every finished run below a folder as one static page with its figures; never trains.

python -m experiments.report --runs=runs --out=report
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("report")
