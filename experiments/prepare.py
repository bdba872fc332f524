"""A folder of images -> an .npz that every command takes, a report of the data and a contact sheet.

python -m experiments.prepare --folder=my_images --out=my.npz
"""

from medjax.cli.launch import launch

if __name__ == "__main__":
    launch("prepare")
