"""Finished runs as one Markdown table.

python -m experiments.tabulate runs/*/*/result.json
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("tabulate")
