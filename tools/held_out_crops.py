#!/usr/bin/env python3
"""Crops of photographs that training never sees, to compare models on: held_out_crops.py PHOTOS OUT

PHOTOS holds debian/, bsds500/ and imagenet-samples/; of all files in the order of their names, every sixteenth from the ninth on is held out.
OUT gets low/ (80x80: blurred, shrunk, noisy, JPEG) with high/ (320x320), clean/ (80x80, shrunk and nothing else) and sharp/ (160x160, twelve
sharp pictures for `gendr restore --scale 1`). Needs numpy and Pillow; the same versions give the same files.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

FOLDERS = ("debian", "bsds500", "imagenet-samples")
SIDE = 320


def held_out(photos):
    files = [p for folder in FOLDERS for p in (photos / folder).iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    return [path for index, path in enumerate(sorted(files, key=str)) if index % 16 == 8]


def center(picture, side):
    x, y = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((x, y, x + side, y + side))


def shrunk(picture):
    """Large photographs are not sharp at their own size."""
    shorter = min(picture.size)
    if shorter < 960:
        return picture
    factor = min(2.0, shorter / 330) if shorter < 2000 else 2.5
    return picture.resize((int(picture.width / factor), int(picture.height / factor)), Image.BICUBIC)


def degraded(high, draws):
    blurred = high.filter(ImageFilter.GaussianBlur(draws.uniform(0.3, 1.6)))
    low = np.asarray(blurred.resize((SIDE // 4, SIDE // 4), Image.BICUBIC)).astype(float)
    low = low + draws.normal(0, draws.uniform(0, 6), low.shape)
    low = Image.fromarray(np.clip(low + 0.5, 0, 255).astype("uint8"))
    compressed = io.BytesIO()
    low.save(compressed, "JPEG", quality=int(draws.uniform(75, 98)))
    return Image.open(compressed).convert("RGB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    for folder in ("low", "high", "clean", "sharp"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(7)
    for number, path in enumerate(held_out(options.photos)):
        photo = Image.open(path).convert("RGB")
        smaller = shrunk(photo)
        high, name = center(smaller, SIDE), f"{number:02d}.png"
        high.save(options.out / "high" / name)
        degraded(high, draws).save(options.out / "low" / name)
        high.resize((SIDE // 4, SIDE // 4), Image.BICUBIC).save(options.out / "clean" / name)
        if number < 12:
            if smaller is photo:
                smaller = photo.resize((photo.width // 2, photo.height // 2), Image.LANCZOS)
            center(smaller, SIDE // 2).save(options.out / "sharp" / name)


if __name__ == "__main__":
    main()
