#!/usr/bin/env python3
"""Why this exists: the peer of `coclr bench augment`: the reference's augmentation with Pillow, one core, same policy and sizes.

Prints one JSON line. Needs Pillow and NumPy only; the colour operations are what torchvision does with a PIL image.
"""
import argparse
import json
import math
import random
import time

import numpy
import PIL
from PIL import Image, ImageEnhance, ImageFilter


def sized_crop(frames, size):
    width, height = frames[0].size
    area = random.uniform(0.2, 1) * width * height
    aspect = random.uniform(3 / 4, 4 / 3)
    w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
    if random.random() < 0.5:
        w, h = h, w
    if w <= width and h <= height:
        x, y = random.randint(0, width - w), random.randint(0, height - h)
        frames = [f.crop((x, y, x + w, y + h)) for f in frames]
    return [f.resize((size, size), Image.BICUBIC) for f in frames]


def hue(image, factor):
    h, s, v = image.convert("HSV").split()
    shifted = numpy.array(h, dtype=numpy.uint8)
    shifted += numpy.uint8(int(factor * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted, "L"), s, v)).convert("RGB")


def jitter(frames):
    operations = [
        (lambda f, a: ImageEnhance.Brightness(f).enhance(a), random.uniform(0.6, 1.4)),
        (lambda f, a: ImageEnhance.Contrast(f).enhance(a), random.uniform(0.6, 1.4)),
        (lambda f, a: ImageEnhance.Color(f).enhance(a), random.uniform(0.6, 1.4)),
        (hue, random.uniform(-0.1, 0.1)),
    ]
    random.shuffle(operations)
    result = []
    for frame in frames:
        for operation, amount in operations:
            frame = operation(frame, amount)
        result.append(frame)
    return result


def gray(frames):
    result = []
    for frame in frames:
        channel = numpy.array(frame)[:, :, random.randrange(3)]
        result.append(Image.fromarray(numpy.dstack([channel] * 3), "RGB"))
    return result


def to_float(frames):
    stack = numpy.stack([numpy.asarray(f, dtype=numpy.uint8) for f in frames])
    clip = stack.transpose(3, 0, 1, 2).astype(numpy.float32) / 255
    mean = numpy.array([0.485, 0.456, 0.406], numpy.float32).reshape(3, 1, 1, 1)
    std = numpy.array([0.229, 0.224, 0.225], numpy.float32).reshape(3, 1, 1, 1)
    return (clip - mean) / std


def flip(frames):
    return [f.transpose(Image.FLIP_LEFT_RIGHT) for f in frames] if random.random() < 0.5 else frames


def null(frames, size):
    return to_float(flip(sized_crop(frames, size)))


def base(frames, size):
    frames = sized_crop(frames, size)
    if random.random() < 0.8:
        frames = jitter(frames)
    if random.random() < 0.2:
        frames = gray(frames)
    if random.random() < 0.5:
        sigma = random.uniform(0.1, 2)
        frames = [f.filter(ImageFilter.GaussianBlur(radius=sigma)) for f in frames]
    return to_float(flip(frames))


def policy(frames, size):
    if random.random() < 0.5:
        return [(base if random.random() < 0.3 else null)(frames, size) for _ in range(2)]
    kinds = [base, null]
    random.shuffle(kinds)
    return [kind(frames, size) for kind in kinds]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mode", choices=["policy", "base", "null"], default="base")
    arguments.add_argument("--samples", type=int, default=30)
    arguments.add_argument("--width", type=int, default=320)
    arguments.add_argument("--height", type=int, default=240)
    arguments.add_argument("--frames", type=int, default=32)
    arguments.add_argument("--size", type=int, default=128)
    options = arguments.parse_args()
    random.seed(0)
    generator = numpy.random.default_rng(0)
    small = generator.integers(0, 256, (options.frames, options.height // 8, options.width // 8, 3), dtype=numpy.uint8)
    frames = [Image.fromarray(f).resize((options.width, options.height), Image.BICUBIC) for f in small]
    one = {"policy": policy, "base": lambda f, s: [base(f, s) for _ in range(2)], "null": lambda f, s: [null(f, s) for _ in range(2)]}[options.mode]
    one(frames, options.size)
    start = time.process_time()
    for _ in range(options.samples):
        one(frames, options.size)
    seconds = time.process_time() - start
    print(json.dumps({"bench": "augment", "peer": f"Pillow {PIL.__version__}", "mode": options.mode, "samples": options.samples, "samples_per_second_per_core": round(options.samples / seconds, 2)}))


if __name__ == "__main__":
    main()
