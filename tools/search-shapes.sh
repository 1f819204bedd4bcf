#!/usr/bin/env bash
# Trains every shape of configs/gendr-tiny/search/ for the same time by `regress` and prints a table.
#
#     cargo build --release -p gendr-cli --features train
#     tools/search-shapes.sh DATA OUT [MINUTES [SHAPE...]]
#
# DATA holds photos/ and teacher/. OUT takes runs and the cache of pairs, which regress of tools/train-gendr-tiny.sh shares. Each
# shape is trained on one thread for MINUTES (5) of processor time, so that other work on the machine does not count; how many steps
# that is, two short runs tell. SHAPE: some of the shapes, by name.
set -euo pipefail
data=$(realpath "${1:?DATA}")
mkdir -p "${2:?OUT}"
out=$(realpath "$2")
minutes=${3:-5}
shift $(($# < 3 ? $# : 3))
project=$(realpath "$(dirname "$0")/..")
gendr=$(realpath "${GENDR:-$project/target/release/gendr}")
shapes=$project/configs/gendr-tiny/search
export RAYON_NUM_THREADS=1
[ $# -gt 0 ] || set -- $(cd "$shapes" && echo *.toml)

# The configuration of gendr-tiny with another [model], fewer steps and smaller batches.
configure() { # SHAPE STEPS
    python3 - "$project/configs/gendr-tiny/regress.toml" "$shapes/$1.toml" "$2" <<'PYTHON'
import re, sys
base, shape, steps = open(sys.argv[1]).read(), open(sys.argv[2]).read(), sys.argv[3]
base = re.sub(r"\[model\].*?(?=\n\[)", lambda _: shape, base, flags=re.S)
base = re.sub(r"(?m)^steps = .*", f"steps = {steps}", base)
# Few pairs at once, so that there are many steps in a short time.
base = re.sub(r"(?m)^batch = .*", "batch = 8", base)
base = re.sub(r"(?m)^(\[data\]\n)pairs = .*", r"\g<1>pairs = 2560", base)
base = re.sub(r"(?m)^warmup = .*", f"warmup = {int(steps) // 8}", base)
print(re.sub(r"\[validation\].*?(?=\n\[)", f"[validation]\nevery = {steps}\npairs = 64\n", base, flags=re.S))
PYTHON
}
train() { # SHAPE STEPS RUN
    rm -rf "$3"
    mkdir -p "$3"
    configure "$1" "$2" >"$3/config.toml"
    "$gendr" train regress --config "$3/config.toml" --data "$data" --run "$3" --cache "$out/cache" >"$3/output"
}
# Processor seconds of a run of so many steps, with all around them.
seconds() { # SHAPE STEPS
    local TIMEFORMAT=%U
    { time train "$1" "$2" "$out/runs/search-trial" 2>&3; } 3>&2 2>&1
}

printf '| shape | parameters | G multiply-adds | ms | steps | D | PSNR-Y |\n|---|---|---|---|---|---|---|\n'
for shape in "$@"; do
    shape=${shape%.toml}
    run=$out/runs/search-$shape
    if [ ! -f "$run/model.safetensors" ]; then
        short=$(seconds "$shape" 8) long=$(seconds "$shape" 24)
        steps=$(python3 -c "print(int(60 * $minutes * 16 / ($long - $short)))")
        train "$shape" "$steps" "$run"
    fi
    info=$("$gendr" model info "$run/model.safetensors" --json)
    speed=$("$gendr" bench restore --size 512 --model "$run/model.safetensors" --threads 1 --json)
    python3 - "$shape" "$run" "$info" "$speed" <<'PYTHON'
import json, sys
shape, run, info, speed = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
last = [json.loads(line) for line in open(f"{run}/log.jsonl")][-1]
total = speed["total_s"]
print(f"| {shape} | {info['parameters'] / 1e6:.2f} M | {info['multiply_adds_512'] / 1e9:.1f} | {total * 1000:.0f} "
      f"| {last['step']} | {last['d']:.3f} | {last['psnr_y']:.2f} |")
PYTHON
done
