#!/usr/bin/env bash
# The `cpu` preset on the three shared sets and a thinned one, two seeds each; results/cpu/ gets the result files.
# Usage, from the repository's root with medjax installed: bash benchmarks/cpu_preset.sh DATA_FOLDER [OUT]
set -euo pipefail
data=$1 out=${2:-runs}
python -m benchmarks.thinned "$data/pbc_blood8.npz" neutrophil "$out/pbc_blood8_thinned.npz"
mkdir -p results/cpu
run() {
    local set=$1 seed=$2 name
    name=$(basename "$set")
    python -m experiments.mtt --dataset="$set.npz" --ipc=1 --preset=cpu --seed="$seed" --out="$out"
    cp "$out/$name"-????????/mtt-ipc1-cpu-seed"$seed"-????????/result.json "results/cpu/$name-seed$seed.json"
}
for set in "$data/pbc_blood8" "$data/chest_xray3" "$data/pneumonia2" "$out/pbc_blood8_thinned"; do
    for seed in 0 1; do run "$set" "$seed"; done
done
