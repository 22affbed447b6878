#!/usr/bin/env python3
"""Why this exists: the peer of `coclr bench flow`: OpenCV's DualTVL1 with its defaults on the same frames.

Prints one JSON line with the same keys. Needs OpenCV with its contrib modules (Debian: python3-opencv) and NumPy only.
"""
import argparse
import json
import statistics
import time

import cv2
import numpy

parser = argparse.ArgumentParser()
parser.add_argument("--size", default="320x240")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--pairs", type=int, default=16)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--frames", required=True, help="raw grey frames, uint8 [frames, height, width]")
parser.add_argument("--compare", help="flow that `coclr bench flow --write-flow` wrote: adds the mean endpoint difference and both warp errors")
options = parser.parse_args()

width, height = map(int, options.size.split("x"))
frames = numpy.fromfile(options.frames, numpy.uint8)
frames = frames[: len(frames) // (width * height) * width * height].reshape(-1, height, width)[: options.pairs + 1]
pairs = len(frames) - 1
cv2.setNumThreads(options.threads)
create = getattr(cv2.optflow, "createOptFlow_DualTVL1", None) or cv2.optflow.DualTVL1OpticalFlow_create
estimator = create()
rates, cpu = [], []
for repeat in range(-1, options.repeats):
    count = pairs if repeat >= 0 else 1
    wall, used = time.perf_counter(), time.process_time()
    flow = [estimator.calc(frames[i], frames[i + 1], None) for i in range(count)]
    if repeat >= 0:
        rates.append(count / (time.perf_counter() - wall))
        cpu.append((time.process_time() - used) / count * 1000)

result = {
    "bench": "flow",
    "implementation": "opencv " + cv2.__version__,
    "algorithm": "TvL1",
    "device": "cpu",
    "width": width,
    "height": height,
    "pairs": pairs,
    "threads": options.threads,
    "repeats": options.repeats,
    "framesPerSecondMedian": round(statistics.median(rates), 2),
    "framesPerSecondBest": round(max(rates), 2),
    "framesPerSecondWorst": round(min(rates), 2),
    "cpuMsPerFrameMedian": round(statistics.median(cpu), 2),
}
if options.compare:
    ours = numpy.fromfile(options.compare, numpy.float32).reshape(-1, 2, height, width).transpose(0, 2, 3, 1)[:pairs]
    y, x = numpy.mgrid[:height, :width].astype(numpy.float32)

    def warp_error(i, field):
        back = cv2.remap(
            frames[i + 1].astype(numpy.float32), x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return float(numpy.abs(back - frames[i]).mean())

    result["meanEndpointDifference"] = round(float(numpy.mean([numpy.linalg.norm(a - b, axis=2).mean() for a, b in zip(ours, flow)])), 5)
    result["warpErrorCoclr"] = round(float(numpy.mean([warp_error(i, ours[i]) for i in range(pairs)])), 4)
    result["warpErrorOpenCv"] = round(float(numpy.mean([warp_error(i, flow[i]) for i in range(pairs)])), 4)
print(json.dumps(result))
