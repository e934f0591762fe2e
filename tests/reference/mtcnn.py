"""MTCNN, box by box: a transcription of the steps of Zhang et al. (2016) and of the authors' program in MATLAB.

Boxes are lists of left, top, right, bottom in pixels from 1, the last ones included, as there. `nets` answers for
images (3, W, H): MATLAB hands Caffe images with the axes exchanged.
"""

import math

import numpy as np


def detect(image, nets, smallest=20, factor=0.709, thresholds=(0.6, 0.7, 0.7)):
    """Return boxes (left, top, right, bottom), scores and landmarks (five x, then five y) of an image (H, W, 3)."""
    boxes = first_stage(image, nets["det1"], smallest, factor, thresholds[0])
    boxes = second_stage(image, nets["det2"], boxes, thresholds[1])
    return third_stage(image, nets["det3"], boxes, thresholds[2])


def first_stage(image, net, smallest, factor, threshold):
    height, width = image.shape[:2]
    scale = 12 / smallest
    found = []
    while min(height, width) * scale >= 12:
        level = resize(halved(image.astype(float), scale), math.ceil(height * scale), math.ceil(width * scale))
        answers = net(transposed(level)[None])
        scores, offsets = answers["prob1"][0, 1], answers["conv4-2"][0]  # [x, y] and [edge, x, y]
        here = []
        for y in range(scores.shape[1]):
            for x in range(scores.shape[0]):
                if scores[x, y] >= threshold:
                    corners = [(2 * x + 1) / scale, (2 * y + 1) / scale, (2 * x + 12) / scale, (2 * y + 12) / scale]
                    here.append(([int(v) for v in corners], scores[x, y], offsets[:, x, y]))
        found += [here[k] for k in nms([(box, score) for box, score, _ in here], 0.5)]
        scale *= factor
    boxes = []
    for k in nms([(box, score) for box, score, _ in found], 0.7):
        box, score, offset = found[k]
        across, down = box[2] - box[0], box[3] - box[1]
        moved = [side + part * d for side, part, d in zip(box, (across, down, across, down), offset, strict=True)]
        boxes.append((squared(moved), score))
    return boxes


def second_stage(image, net, boxes, threshold):
    passed = []
    for box, _ in boxes:
        answers = net(transposed(crop(image, box, 24))[None])
        score = answers["prob1"][0, 1]
        if score > threshold:
            passed.append((box, score, answers["conv5-2"][0]))
    kept = [passed[k] for k in nms([(box, score) for box, score, _ in passed], 0.7)]
    return [(squared(regressed(box, offset)), score) for box, score, offset in kept]


def third_stage(image, net, boxes, threshold):
    faces = []
    for box, _ in boxes:
        answers = net(transposed(crop(image, box, 48))[None])
        score = answers["prob1"][0, 1]
        if score > threshold:
            width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
            parts = answers["conv6-3"][0]
            points = [width * p + box[0] - 1 for p in parts[:5]] + [height * p + box[1] - 1 for p in parts[5:]]
            faces.append((regressed(box, answers["conv6-2"][0]), score, points))
    return [faces[k] for k in nms([(box, score) for box, score, _ in faces], 0.7, smaller=True)]


def nms(boxes, threshold, smaller=False):
    """Return the positions of the boxes that stay."""
    waiting = sorted(range(len(boxes)), key=lambda k: boxes[k][1])
    stay = []
    while waiting:
        best = waiting.pop()
        stay.append(best)
        waiting = [k for k in waiting if overlap(boxes[best][0], boxes[k][0], smaller) <= threshold]
    return stay


def overlap(a, b, smaller):
    across = min(a[2], b[2]) - max(a[0], b[0]) + 1
    down = min(a[3], b[3]) - max(a[1], b[1]) + 1
    common = max(0, across) * max(0, down)
    area_a, area_b = ((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return common / (min(area_a, area_b) if smaller else area_a + area_b - common)


def regressed(box, offset):
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    return [side + part * d for side, part, d in zip(box, (width, height, width, height), offset, strict=True)]


def squared(box):
    width, height = box[2] - box[0], box[3] - box[1]
    side = max(width, height)
    left, top = box[0] + width * 0.5 - side * 0.5, box[1] + height * 0.5 - side * 0.5
    return [int(v) for v in (left, top, left + side, top + side)]


def crop(image, box, side):
    """Return a box of an image, black outside, resized and rounded to whole levels."""
    left, top, right, bottom = box
    part = np.zeros((bottom - top + 1, right - left + 1, 3))
    for y in range(max(top, 1), min(bottom, image.shape[0]) + 1):
        for x in range(max(left, 1), min(right, image.shape[1]) + 1):
            part[y - top, x - left] = image[y - 1, x - 1]
    return np.rint(resize(part, side, side))


def transposed(image):
    return ((image - 127.5) * 0.0078125).transpose(2, 1, 0).astype(np.float32)


def halved(image, scale):
    """Return the image halved as long as that leaves at most 3/4 of it to a level of the pyramid."""
    while scale * 2 <= 0.75 and image.shape[0] % 2 == image.shape[1] % 2 == 0:
        image = (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
        scale *= 2
    return image


def resize(image, rows, columns):
    """Average areas where neither side grows, else interpolate bilinearly."""
    kernel = areas if rows <= image.shape[0] and columns <= image.shape[1] else lines
    down, across = kernel(image.shape[0], rows), kernel(image.shape[1], columns)
    return np.stack([down @ image[..., colour] @ across.T for colour in range(3)], axis=2)


def areas(old, new):
    weights = np.zeros((new, old))
    for k in range(new):
        start, stop = k * old / new, (k + 1) * old / new
        for pixel in range(old):
            weights[k, pixel] = max(0, min(stop, pixel + 1) - max(start, pixel)) / (stop - start)
    return weights


def lines(old, new):
    weights = np.zeros((new, old))
    for k in range(new):
        position = min(max((k + 0.5) * old / new - 0.5, 0), old - 1)
        first = min(int(position), old - 2)
        weights[k, first], weights[k, first + 1] = first + 1 - position, position - first
    return weights
