#!/usr/bin/env bash
# Makes the pictures of docs/gallery.md: 24 inputs enlarged by bicubic, by a model and by Real-ESRGAN x4plus, side by side.
#
#     cargo build --release
#     tools/gallery.sh PHOTOS EVAL TEACHER OUT [MODEL]
#
# PHOTOS holds the training photographs (those used here are held out of training), EVAL drealsr/ and set14/, TEACHER
# realesrgan-x4plus.safetensors. OUT gets gallery-1.jpg to gallery-3.jpg; low/, model/ and x4plus/ hold the whole pictures. Needs
# ImageMagick's `convert` and `montage`.
set -euo pipefail
photos=${1:?PHOTOS} eval_folder=${2:?EVAL} teacher=${3:?TEACHER} out=${4:?OUT} model=${5:-gendr-tiny}
gendr=${GENDR:-target/release/gendr}
panel=224
rm -rf "$out/low" "$out/model" "$out/x4plus" "$out/panels"
mkdir -p "$out/low" "$out/panels" "$out/sharp"

# Real photographs of a camera, as they are.
for name in Canon_40 DSC_1045 DSC_1245 DSC_1326 DSC_1474 P1140279 P1140417 panasonic_145 panasonic_182 panasonic_196; do
    cp "$eval_folder/drealsr/test_LR/${name}_x1.png" "$out/low/1-$name.png"
done
# Clean small copies: an animal, a drawing, faces, print.
for number in 001 005 006 011 013 014; do
    "$gendr" degrade "$eval_folder/set14/img_${number}_SRF_4_HR.png" -o "$out/low/2-set14-$number.png" --preset bicubic --quiet
done
# Photographs gone bad in several ways.
degraded() { # FILE PRESET SEED
    local name
    name=$(basename "${1%.*}")
    convert "$photos/$1" -auto-orient -resize '1600x1600>' -gravity center -crop 480x320+0+0 +repage "$out/sharp/$name.png"
    "$gendr" degrade "$out/sharp/$name.png" -o "$out/low/3-$name-$2.png" --preset "$2" --seed "$3" --quiet
}
degraded bsds500/14092.jpg realesrgan 1
degraded bsds500/65019.jpg first-order 2
degraded bsds500/15088.jpg mild 3
degraded debian/Storm.jpg realesrgan 4
degraded imagenet-samples/n02128385_leopard.JPEG first-order 5
degraded imagenet-samples/n03095699_container_ship.JPEG mild 6
degraded imagenet-samples/n04435653_tile_roof.JPEG invsr-test 7
degraded imagenet-samples/n02101556_clumber.JPEG realesrgan 8

"$gendr" restore "$out/low" -o "$out/model" --model "$model" --format png --quiet
"$gendr" restore "$out/low" -o "$out/x4plus" --model "$teacher/realesrgan-x4plus.safetensors" --format png --quiet
cut_out() { # FROM TO [ENLARGE...]
    convert "$1" "${@:3}" -gravity center -crop "${panel}x$panel+0+0" +repage "$2"
}
for low in "$out"/low/*.png; do
    name=$(basename "${low%.png}")
    cut_out "$low" "$out/panels/$name-1.png" -filter Catrom -resize 400%
    cut_out "$out/model/$name.png" "$out/panels/$name-2.png"
    cut_out "$out/x4plus/$name.png" "$out/panels/$name-3.png"
done
panels=("$out"/panels/*.png)
for page in 1 2 3; do
    montage "${panels[@]:$(((page - 1) * 24)):24}" -tile 6x -geometry "${panel}x$panel+2+2" -quality 82 "$out/gallery-$page.jpg"
done
