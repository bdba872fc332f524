"""Attack the distilled set of a finished run: what does it give away?

python -m experiments.audit --run=runs/.../mtt-ipc1-cpu-seed0-...
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("audit")
