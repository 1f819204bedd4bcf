#!/usr/bin/env bash
# Prints the tables of docs/quality.md: bicubic, Lanczos, Real-ESRGAN and the built-in model on DRealSR, Set14 and Set5.
#
#     cargo build --release
#     tools/quality_tables.sh EVAL TEACHER RUNS [SET...]
#
# EVAL holds drealsr/, set14/ and set5/, TEACHER the two Real-ESRGAN files. Results are kept in RUNS: what is there already is
# only scored again, and a changed built-in model is restored anew. SET names some of the sets, all by default.
set -euo pipefail
eval_folder=${1:?EVAL} teacher=${2:?TEACHER} runs=${3:?RUNS}
shift 3
gendr=${GENDR:-target/release/gendr}
metrics=psnr-y,ssim-y,ms-ssim,niqe,ssimulacra2,d,sharp,de2000,lr-psnr

[ $# -gt 0 ] || set -- drealsr set14 set5

for name in "$@"; do
  folder=$runs/$name crop=4
  [ "$name" = drealsr ] && crop=0
  mark=$folder/.built-in-model
  hash=$(sha256sum < crates/gendr/models/gendr-tiny.safetensors)
  if [ -d "$folder/gendr-tiny" ] && [ "$hash" != "$(cat "$mark" 2>/dev/null)" ]; then
    rm -r "$folder/gendr-tiny"
  fi
  mkdir -p "$folder"
  printf '%s' "$hash" > "$mark"
  "$gendr" eval --restore "$eval_folder/$name" --layout "$name" --crop "$crop" -o "$folder" --metrics "$metrics" \
    --report "$folder/page" --markdown --quiet \
    --model bicubic Lanczos=lanczos "animevideov3=$teacher/realesr-animevideov3.safetensors" gendr-tiny \
    "x4plus=$teacher/realesrgan-x4plus.safetensors" > "$folder/markdown"
  printf '\n## %s\n\n' "$name"
  cat "$folder/markdown"
done
