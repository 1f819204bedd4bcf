#!/usr/bin/env bash
# Makes the pictures of README.md and docs/quality.md from examples/.
#
#     cargo build --release
#     tools/pictures.sh TEACHER [MODEL]
#
# TEACHER holds realesrgan-x4plus.safetensors. Needs ImageMagick's `convert`.
set -euo pipefail
teacher=${1:?TEACHER} model=${2:-gendr-tiny}
gendr=${GENDR:-target/release/gendr}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for name in dogs room mountains; do
    convert "examples/$name.jpg" -filter Catrom -resize 400% "$work/$name-1.png"
    "$gendr" restore "examples/$name.jpg" -o "$work/$name-2.png" --model "$model" --quiet
    "$gendr" restore "examples/$name.jpg" -o "$work/$name-3.png" --model "$teacher/realesrgan-x4plus.safetensors" --quiet
done
# Bicubic and result beside each other.
pair() { # NAME X Y
    convert "$work/$1-1.png" "$work/$1-2.png" -crop "420x420+$2+$3" +repage \
        -bordercolor white -border 4x0 +append -shave 4x0 -quality 90 "docs/images/$1.jpg"
}
pair dogs 60 60
pair room 110 110
pair mountains 190 88
# And x4plus, with captions.
row() { # NAME X Y
    convert "$work/$1-1.png" "$work/$1-2.png" "$work/$1-3.png" -crop "260x200+$2+$3" +repage \
        -background white -gravity northwest -splice 0x24 -bordercolor white -border 3x1 +append \
        -font DejaVu-Sans -pointsize 15 -annotate +4+4 bicubic -annotate +270+4 gendr-tiny -annotate +536+4 "Real-ESRGAN x4plus" \
        "$work/row-$1.png"
}
row dogs 200 240
row room 220 220
convert "$work/row-dogs.png" "$work/row-room.png" -append -quality 90 docs/images/quality.jpg
