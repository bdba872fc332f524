"""Values of DC and DSA by method and preset, as {method: {preset: {(dataset, ipc): {flag: value}}}}.

paper  the public code's values; DC without augmentation and on 300 epochs, DSA with it and on 1,000. Expected: Table 1
       of the study (medjax/report/table1.csv), e.g. DC on bloodmnist 62.5 / 74.8 / 72.8 % at IPC 1 / 10 / 50.
cpu    two CPU cores, fewer networks, smaller real batches, real images as the start; DC evaluated as in `paper`.
       Measured scores and minutes: results/cpu/, README. How the values were found, on the blood set at IPC 1, seed 0,
       with `--preset=cpu --iterations=200 --eval_every=100 --interim_networks=6 --eval_epochs=1000 --eval_augment`: val
       after 100 and 200 iterations was 68.8 and 69.4 %; with --lr_img=0.5 68.1 and 70.1; with --whiten=normalise 51.4
       and 50.8; with as many updates, five a network (--outer=5 --inner=10 --iterations=40 --eval_every=20), 66.1 and
       67.2. No running average: 69.7 % with one (--average=0.95) at iteration 100, 70.1 without.
quick  a look at the whole pipeline on the phantom set; its scores are not to be quoted.
"""

from typing import Any

CPU: dict[str, Any] = {
    "iterations": 300,
    "batch_real": 64,
    "init_images": "real",
    "eval_every": 100,
    "interim_networks": 4,
}
#: What the public code trains DC's networks for: 300 epochs without augmentation.
DC_EVALUATION: dict[str, Any] = {"eval_epochs": 300, "eval_augment": False}
#: Their step size falls an epoch late, and the momentum begins anew then.
PARITY: dict[str, Any] = {"decay_parity": True}
QUICK: dict[str, Any] = {
    "iterations": 40,
    "batch_real": 32,
    "init_images": "real",
    "eval_every": 20,
    "interim_networks": 1,
    "interim_epochs": 60,
    "eval_epochs": 60,
}

PRESETS: dict[str, dict[str, Any]] = {
    "dc": {
        "paper": {("*", "*"): DC_EVALUATION | PARITY},
        "cpu": {("*", "*"): CPU | DC_EVALUATION},
        "quick": {("*", "*"): QUICK},
    },
    "dsa": {
        "paper": {("*", "*"): {"init_images": "real"} | PARITY},
        "cpu": {("*", "*"): CPU},
        "quick": {("*", "*"): QUICK},
    },
}
