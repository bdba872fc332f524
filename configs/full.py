"""Values of training on all data by preset, as {preset: {(dataset, ipc): {flag: value}}}.

paper  MedMNIST's recipe; with --model=resnet18 the study's upper bound, 95.8 % on bloodmnist.
cpu    eight epochs of two networks. Measured scores and minutes: results/cpu/, README.
"""

PRESETS = {
    "paper": {},
    "cpu": {("*", "*"): {"full_epochs": 8, "full_networks": 2}},
    "quick": {("*", "*"): {"full_epochs": 2, "full_networks": 1}},
}
