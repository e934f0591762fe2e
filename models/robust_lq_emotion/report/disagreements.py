"""What the paper says and the authors' code does otherwise: subject, paper, code, consequence."""

from __future__ import annotations

DISAGREEMENTS = (
    (
        "what the nets see",
        "LR frames",
        "crops shrunk by s and enlarged to 96 × 96 again, both bicubic",
        "the input always has 96 × 96 pixels; interpolation overshoots and is not clipped",
    ),
    ("grey", "grey-scale frames", "Y of BT.601 over 255", "values lie between 16/255 and 235/255"),
    (
        "third pooling",
        "quadrants, 2 × 2",
        "4 × 4 windows, sizes rounded up: 5 × 5",
        "2,946,649 parameters, not 1,333,849",
    ),
    (
        "convolutions",
        "those of CNN+D: padded, no biases",
        "not padded, with biases",
        "maps of 92, 46, 42, 21, 17 pixels",
    ),
    (
        "normalisation",
        "mean subtraction and contrast normalisation",
        "both switched off; switched on, one mean and deviation of a file",
        "published weights expect plain Y",
    ),
    ("pictures for SR-FCN", "HR faces", "91 natural pictures, tested on Set5", "it never learns from a face"),
    ("largest factor of Joint-OA", "16", "12, in scripts and names of files", "the option `--max-factor`"),
    (
        "solver of SR-FCN",
        "30,000 iterations, rate 0.01, decay 0.0005",
        "500,000 iterations, rate 0.0001, no decay, slower conv4",
        "the paper's are those of the other nets",
    ),
    ("learning rate", "divided by ten when validation stalls", "fixed in every solver", "no schedule"),
    ("biases", "same rate as the layer's", "twice the rate", "a small difference in training"),
    (
        "Non-Joint",
        "fully connected regressor on super-resolved frames",
        "CNN+D with SR-FCN's first three convolutions, frozen",
        "no frame is ever super-resolved",
    ),
    (
        "mixture of Joint-OA",
        "factors 3, 4 and 6 mixed",
        "one draw for each frame when the file is written, for test data too",
        "a frame has the same factor in every pass",
    ),
    (
        "frames used",
        "all",
        "none without a face or with a box of 100 pixels or fewer; a file's last N mod 128 are lost",
        "scores are of fewer frames",
    ),
    (
        "augmentation",
        "not mentioned",
        "an option that puts mirrored frames in place of the others",
        "switched off; `--augment` of h5 does as the script",
    ),
    ("loss", "mean squared error", "Caffe's Euclidean loss: the sum of squares over 2 N", "rates mean something else"),
    (
        "axes",
        "not mentioned",
        "MATLAB's column order: frames are transposed, in training and in evaluation",
        "weights expect transposed faces",
    ),
    (
        "CCC",
        "Lin's",
        "covariance over N, variances over N − 1",
        "smaller by the factor (N − 1)/N at most, next to nothing here",
    ),
)
