"""Clips of drawn faces with a table."""

from fractions import Fraction

import numpy as np

from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene
from lq_emotion.datasets.synthetic.person import make_person


def draw_frames(person, valences, side=200):
    """Return a drawn person's frames (T, side, side, 3), one for each valence."""
    rng = np.random.default_rng([person, 1])
    scene = Scene(make_person(rng), rng, (side, side))
    pose = Pose(0, 0, 1, 0)
    return np.stack([scene.draw(Expression(v, 0.0, 0.0, (0.0, 0.0)), pose, (1.0, 0.0)) for v in valences])


def write_video(path, frames, rate=25, options=None):
    """Write frames without loss; `rate` per second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options=options or {"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        stream.codec_context.time_base = Fraction(1, rate)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
