#!/usr/bin/env bash
# Trains the built-in model from photographs: `regress`, `base`, `distill`, and the model between the first and the last.
#
#     cargo build --release -p gendr-cli --features train      # or libtorch, for NVIDIA GPUs
#     tools/train-gendr-tiny.sh DATA OUT [SHARE]
#
# DATA holds photos/ and teacher/ as configs/gendr-tiny/ names them; OUT takes runs, cache and gendr-tiny.safetensors. SHARE is that
# of the distilled model (1.2: a little further the same way). DEVICE (cpu) trains. A run that was stopped goes on from its newest
# checkpoint; each prints how long it took.
set -euo pipefail
data=$(realpath "${1:?DATA}")
mkdir -p "${2:?OUT}"
out=$(realpath "$2")
share=${3:-1.2}
project=$(realpath "$(dirname "$0")/..")
gendr=$(realpath "${GENDR:-$project/target/release/gendr}")

stage() { # NAME
    local begun=$SECONDS run="$out/runs/gendr-tiny-$1"
    if [ -f "$run/model.safetensors" ]; then
        return
    fi
    mkdir -p "$run"
    sed "s|\"runs/|\"$out/runs/|" "$project/configs/gendr-tiny/$1.toml" >"$run/config.toml"
    "$gendr" train "$1" --config "$run/config.toml" --data "$data" --run "$run" --cache "$out/cache" \
        --device "${DEVICE:-cpu}" --resume
    echo "$1: $((SECONDS - begun)) s"
}

stage regress
stage base
stage distill
between="$out/between"
rm -rf "$between"
"$gendr" model interpolate "$out/runs/gendr-tiny-regress/model.safetensors" "$out/runs/gendr-tiny-distill/model.safetensors" \
    --share "$share" -o "$between"
# What people read in `gendr model info`.
python3 - "$between/gendr.json" <<'PYTHON'
import json, sys
path = sys.argv[1]
about = json.load(open(path))
about["name"] = "gendr-tiny"
about["color_fix"] = "projection"
about["licence"] = "MIT OR Apache-2.0 (weights); learned from Real-ESRGAN x4plus, BSD-3-Clause"
about["origin"] = "tools/train-gendr-tiny.sh"
json.dump(about, open(path, "w"), indent=2)
PYTHON
rm -f "$out/gendr-tiny.safetensors"
"$gendr" model convert "$between" -o "$out/gendr-tiny.safetensors" --precision f16
"$gendr" model info "$out/gendr-tiny.safetensors"
