"""A slow transcription of `matlab_ports.prepare_dataset`: the script read line by line, pixel by pixel in plain Python."""

import math

import numpy as np

from tests.reference import matlab_imresize

T1, T2, T3 = (v * (1 / 255) for v in (65.481, 128.553, 24.966))


def luma(rgb):
    height, width, _ = rgb.shape
    out = np.empty((height, width), np.float32)
    for i in range(height):
        for j in range(width):
            r, g, b = (float(v) for v in rgb[i, j])
            y = min(max(math.floor(((T1 * r + T2 * g) + T3 * b) + 16 + 0.5), 0), 255)
            out[i, j] = np.float32(y) / np.float32(255)
    return out


def bicubic(picture, size):
    scale = [o / n for o, n in zip(size, picture.shape, strict=True)]
    return matlab_imresize.imresize(picture, scale, size, "bicubic", True)


def prepare(frames, csv_text, bbox, bbox_time, gsd, gsd_time, *, side, lr=1):
    """Return video (side, side, T), valence and video_time, or the time that no box or label matches."""
    rows = [line.split(";") for line in csv_text.split("\n")[1:] if line]
    unread = iter(frames)
    video, valence, video_time = [], [], []
    for row in rows:
        real_time = float(row[1])
        box_at = [k for k, t in enumerate(bbox_time) if t == real_time]
        label_at = [k for k, t in enumerate(gsd_time) if t == real_time]
        if not box_at or not label_at:
            return real_time
        x, y, w, h = (float(v) for v in bbox[box_at[0]])
        frame = next(unread)
        if x + y + w + h != 0 and w > 100 and h > 100:
            height, width = frame.shape[:2]
            left, top = math.ceil(x), math.ceil(y)
            right, bottom = math.ceil(x + w - 1), math.ceil(y + h - 1)
            top, bottom = max(top, 1), min(bottom, height)
            left, right = max(left, 1), min(right, width)
            crop = bicubic(luma(frame[top - 1 : bottom, left - 1 : right]), [side, side])
            if lr != 1:
                small = matlab_imresize.imresize(crop, [1 / lr] * 2, [math.ceil(side * (1 / lr))] * 2, "bicubic", True)
                crop = matlab_imresize.imresize(small, [side / n for n in small.shape], [side, side], "bicubic", True)
            video.append(crop)
            valence.append(gsd[label_at[0]])
            video_time.append(real_time)
    return np.stack(video, axis=2).astype(np.float64), np.array([valence]), np.array([video_time])
