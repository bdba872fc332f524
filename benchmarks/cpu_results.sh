#!/usr/bin/env bash
# The `cpu` presets of all methods on the three shared sets and a thinned one; results/cpu/ gets a folder for each run:
# its scores, what it was made with, and its gallery.
# Usage, from the repository's root with medjax installed: bash benchmarks/cpu_results.sh DATA_FOLDER [OUT]
# Stopped and started again, it goes on where it was.
set -euo pipefail
data=$1 out=${2:-runs} kept=results/cpu
mkdir -p "$out"
thinned=$out/pbc_blood8_thinned.npz
[[ -e $thinned ]] || python -m benchmarks.thinned "$data/pbc_blood8.npz" neutrophil "$thinned"

# run LAUNCHER METHOD FILE SEED FLAGS...: METHOD is how the launcher names its run folder.
run() {
    local launcher=$1 method=$2 file=$3 seed=$4 name
    shift 4
    name=$(basename "$file" .npz)
    python -m "experiments.$launcher" --dataset="$file" --preset=cpu --seed="$seed" --out="$out" "$@"
    mkdir -p "$kept/$name-$method-seed$seed"
    cp "$out/$name"-????????/"$method"-cpu-seed"$seed"-????????/{result,config}.json "$kept/$name-$method-seed$seed/"
    # Pictures of one seed are enough; random and full make none.
    if [[ $seed == 0 && ! $launcher =~ ^(full|random)$ ]]; then
        cp "$out/$name"-????????/"$method"-cpu-seed"$seed"-????????/gallery.png "$kept/$name-$method-seed$seed/"
    fi
}

# On a tenth of each of the three sets, labelled by the set: run_integrated LAUNCHER METHOD
run_integrated() {
    run "$1" "$2" integrated 0 --integrate="$blood,$chest,$pneumonia"
}

blood=$data/pbc_blood8.npz chest=$data/chest_xray3.npz pneumonia=$data/pneumonia2.npz
# The longest wait is for MTT, and it is what the rest is read against: first.
for seed in 0 1; do
    for set in "$blood" "$chest" "$pneumonia" "$thinned"; do run mtt mtt-ipc1 "$set" "$seed"; done
done
for set in "$blood" "$chest" "$pneumonia"; do
    run dc dc-ipc1 "$set" 0
    run dsa dsa-ipc1 "$set" 0
    run dm dm-ipc1 "$set" 0
    run full full "$set" 0
    for ipc in 1 10 50; do run random "random-ipc$ipc" "$set" 0 --ipc="$ipc"; done
done
run mtt mtt-ipc10 "$blood" 0 --ipc=10
run_integrated mtt mtt-ipc1
run_integrated dc dc-ipc1
run_integrated random random-ipc1
run_integrated full full
