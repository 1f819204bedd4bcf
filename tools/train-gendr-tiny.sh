#!/usr/bin/env bash
# Trains the built-in model from photographs: `regress`, `base`, `distill`, `distill` once more in small batches, and the model between
# the last two.
#
#     cargo build --release -p gendr-cli --features train      # or libtorch, for NVIDIA GPUs
#     tools/train-gendr-tiny.sh DATA OUT [CONFIGS]
#
# DATA holds photos/ and teacher/ as the files of CONFIGS (configs/gendr-tiny) name them; OUT takes runs, cache and
# gendr-tiny.safetensors. DEVICE (cpu) trains; SHARE (0.6) is that of the last model. A run that was stopped goes on from its newest
# checkpoint; each prints how long it took.
set -euo pipefail
data=$(realpath "${1:?DATA}")
mkdir -p "${2:?OUT}"
out=$(realpath "$2")
project=$(realpath "$(dirname "$0")/..")
configs=$(realpath "${3:-$project/configs/gendr-tiny}")
gendr=$(realpath "${GENDR:-$project/target/release/gendr}")

stage() { # NAME COMMAND
    local begun=$SECONDS run="$out/runs/gendr-tiny-$1"
    if [ -f "$run/model.safetensors" ]; then
        return
    fi
    mkdir -p "$run"
    sed "s|\"runs/|\"$out/runs/|" "$configs/$1.toml" >"$run/config.toml"
    "$gendr" train "$2" --config "$run/config.toml" --data "$data" --run "$run" --cache "$out/cache" \
        --device "${DEVICE:-cpu}" --resume
    echo "$1: $((SECONDS - begun)) s"
}

stage regress regress
stage base base
stage distill distill
stage refine distill
model="$out/model"
rm -rf "$model"
"$gendr" model interpolate "$out/runs/gendr-tiny-distill/model.safetensors" "$out/runs/gendr-tiny-refine/model.safetensors" \
    --share "${SHARE:-0.6}" -o "$model"
# What people read in `gendr model info`.
python3 - "$model/gendr.json" <<'PYTHON'
import json, sys
path = sys.argv[1]
about = json.load(open(path))
about["name"] = "gendr-tiny"
about["color_fix"] = "projection"
about["least_scale"] = 4
about["licence"] = "MIT OR Apache-2.0 (weights); learned from Real-ESRGAN x4plus, BSD-3-Clause"
about["origin"] = "tools/train-gendr-tiny.sh"
json.dump(about, open(path, "w"), indent=2)
PYTHON
rm -f "$out/gendr-tiny.safetensors"
"$gendr" model convert "$model" -o "$out/gendr-tiny.safetensors" --precision f16
"$gendr" model info "$out/gendr-tiny.safetensors"
