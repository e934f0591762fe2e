"""Where the paper (arXiv 1709.03126) and the authors' code disagree: one list for docs, report and switches.

`paper_vs_code` writes docs/paper_vs_code.md from it. Lines are those of
github.com/bowenc0221/Robust-LQ-Emotion-Recognition at dde3c1c.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disagreement:
    """A place where paper and code disagree.

    Attributes
    ----------
    subject : topic.
    paper, where : what the text says, and in which section; both empty if it is silent.
    code, line : what the authors published, and in which lines (file:line, relative to their repository).
    consequence : effect of the code's choice.
    switch : field of `PaperSwitches`, if there is one.
    why : why there is no switch, and what there is instead.
    """

    subject: str
    paper: str
    where: str
    code: str
    line: str
    consequence: str
    switch: str = ""
    why: str = ""


_NET = "experiments/network/model_1F_CNN+D.prototxt"
_H5 = "matlabscripts/generate_h5/generate_h5.m"
_H5_FILES = "matlabscripts/generate_h5/prepare_h5_files.m"
_DATASET = "matlabscripts/prepare_dataset.m"
_JOINT_NET = "experiments/network/model_1F_CNN+D_vlqr.prototxt"
_SR_NET = "pretrain/Pretrain_net.prototxt"
_SR_SOLVER = "pretrain/Pretrain_solver.prototxt"

DISAGREEMENTS = (
    Disagreement(
        "input of the nets",
        "“fed with LR video frames”",
        "3.2",
        "crops shrunk by s and enlarged to 96 × 96 again, both with bicubic interpolation",
        f"{_DATASET}:81, {_H5}:38",
        "the input always has 96 × 96 pixels; interpolation overshoots and is not clipped",
        "input_size",
    ),
    Disagreement(
        "gray",
        "“convert color frames to gray-scale”",
        "4",
        "Y of BT.601 over 255",
        f"{_DATASET}:57-59",
        "values lie between 16/255 and 235/255",
        "luminance",
    ),
    Disagreement(
        "third pooling",
        "“quadrant pooling”: 2 × 2 in the nets the paper follows",
        "3.2",
        "4 × 4 windows, sizes rounded up: 5 × 5",
        f"{_NET}:151-152",
        "2,946,649 parameters, not 1,333,849",
        "quadrant_pooling",
    ),
    Disagreement(
        "convolutions",
        "“mostly inherits the CNN+D structure” of Khorrami et al., whose convolutions are padded and have no biases",
        "3.2",
        "not padded, with biases",
        f"{_NET}:33-42",
        "the maps have 92, 46, 42, 21 and 17 pixels; SR-FCN turns 96 × 96 into 80 × 80",
        "convolutions",
    ),
    Disagreement(
        "normalisation",
        "“mean subtraction and contrast normalization prior to passing each face image through the CNN”",
        "4",
        "both switched off; if switched on, one mean and one deviation for all values of a file",
        f"{_H5_FILES}:22-23, {_H5}:51-57",
        "published weights expect plain Y",
        "normalisation",
    ),
    Disagreement(
        "images for SR-FCN",
        "“to reconstruct the HR frames from LR inputs”",
        "3.2",
        "91 natural images, tested on Set5",
        "pretrain/generate_train.m:3, pretrain/generate_test.m:3",
        "SR-FCN never learns from a face",
        "sr_images",
    ),
    Disagreement(
        "largest factor of Joint-OA",
        "“the maximum downsampling factor”, in a range that ends at 16",
        "3.3, 4",
        "12, in scripts and file names",
        "pretrain/generate_train.m:7",
        "Joint-OA starts from SR-FCN at 12",
        "max_factor",
    ),
    Disagreement(
        "solver of SR-FCN",
        "“30,000 iterations”, rate “0.01”, decay 0.0005 as for all nets",
        "4",
        "500,000 iterations, rate 0.0001, no decay, lower rates for conv4 and biases",
        f"{_SR_SOLVER}:4-9, pretrain/Pretrain_net.prototxt:31-136",
        "the paper's values are those of the other nets; with the sum of squares as loss they diverge",
        "sr_schedule",
    ),
    Disagreement(
        "learning rate",
        "“divided by 10 when ... the validation set performance stops to improve”",
        "4",
        "fixed in every solver",
        "experiments/solver/solver_1F_CNN+D.prototxt:6",
        "no schedule",
        "lr_on_plateau",
    ),
    Disagreement(
        "validation set",
        "“divided by 10 when we observe that the validation set performance stops to improve”, and “the AVEC "
        "development set of 9 sequences as our testing set”; no other validation set is named",
        "4",
        "the nets are tested on the development recordings while they learn, and nothing depends on it",
        f"{_H5_FILES}:13-15",
        "with lr_on_plateau and validation=dev the recordings that are scored decide when the rate falls: a look at "
        "the test set, which may flatter the scores",
        "validation",
    ),
    Disagreement(
        "biases",
        "one rate per layer: “0.001 ... for the first three”, “0.01”",
        "4",
        "twice the rate of the weights",
        f"{_NET}:36, experiments/network/model_1F_CNN+D_vlqr.prototxt:36",
        "a small difference in training",
        "bias_rate",
    ),
    Disagreement(
        "Non-Joint",
        "“a separate fully-connected neural network ... from up-scaled HR images”",
        "4.1",
        "CNN+D with SR-FCN's first three convolutions, frozen",
        "experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt:33-36",
        "no frame is ever super-resolved",
        "separate_regressor",
    ),
    Disagreement(
        "mixture of Joint-OA",
        "“a mixture of LR frames ... generated from HR frames”; it does not say how often a factor is chosen",
        "3.3",
        "one draw per frame when the file is written, for test data too",
        f"{_H5}:35-40",
        "a frame has the same factor in every epoch",
        "mixture",
    ),
    Disagreement(
        "frames used",
        "“all AVEC video data”",
        "4",
        "no frame without a face, or with a box of 100 pixels or fewer in width or height",
        f"{_DATASET}:56",
        "scores cover fewer frames",
        "smallest_face",
    ),
    Disagreement(
        "loss",
        "“mean squared error (MSE)”; a CC or CCC loss as “a noteworthy option”",
        "3.2, 5",
        "Caffe's Euclidean loss: the sum of squares over 2 N",
        f"{_NET}:220, pretrain/Pretrain_net.prototxt:156",
        "half the paper's value for valence, 128 times it for patches of 16 × 16: the same rate means something else",
        "loss",
    ),
    Disagreement(
        "first layers of SR-FCN",
        "“Its first three layers are configured the same as the first three layers of the target CNN”; of the CNN, “"
        "The first two layers are followed by 2 × 2 max pooling while the third layer is followed by quadrant pooling”",
        "3.2",
        "the same convolutions, but no pooling between them in SR-FCN",
        f"{_SR_NET}:26-121, {_JOINT_NET}:60-70, {_JOINT_NET}:106-116",
        "conv2 and conv3 learn on maps of full resolution, and begin in the CNN on maps 2 and 4 times coarser: their "
        "receptive fields are 14 and 32 pixels instead of 9 and 13",
        why="with pooling, SR-FCN's output would be smaller than the face it is to reconstruct; the paper does not say "
        "how it would grow again",
    ),
    Disagreement(
        "super-resolved image",
        "the joint module “simultaneously enhances the spatial resolution and predicts the per-frame valence value”",
        "3.1",
        "the joint net has SR-FCN's first three convolutions but not conv4, which makes the image",
        f"{_JOINT_NET}:27-234",
        "no image comes out of the joint net: super-resolution is where its training starts",
        why="section 3.2 exports the first three layers only; SR-FCN itself gives images (`lq-emotion sr-demo`)",
    ),
    Disagreement(
        "last samples of a file",
        "",
        "",
        "the last N mod 128 samples of a file are lost",
        f"{_H5}:65",
        "tests during training see fewer frames than evaluation",
        why="`lq-emotion h5 --keep-remainder` keeps them; the paper says nothing about it",
    ),
    Disagreement(
        "augmentation",
        "",
        "",
        "an option that replaces frames by mirrored ones",
        f"{_H5}:47-49",
        "it is switched off",
        why="the paper has no augmentation; `lq-emotion h5 --augment` does the same as the script",
    ),
    Disagreement(
        "axes",
        "",
        "",
        "MATLAB's column order: frames are transposed, in training and in evaluation",
        "matlabscripts/generate_h5/store2hdf5.m:2",
        "weights expect transposed faces",
        why="weights trained with one order are useless with the other",
    ),
    Disagreement(
        "CC and CCC",
        "as in AVEC 2016",
        "4",
        "covariance over N, variances over N − 1",
        "matlabscripts/evaluation/run_eval.m:59-62",
        "smaller by a factor of at most (N − 1)/N, which is negligible here",
        why="`lq-emotion evaluate --convention` offers all three, and scores.json holds them",
    ),
    Disagreement(
        "patches for SR-FCN",
        "",
        "",
        "patches of 32 × 32 every 14 pixels; the label is the central 16 × 16",
        "pretrain/generate_train.m:5-8",
        "the net learns nothing about the borders of faces",
        why="the paper gives no size",
    ),
    Disagreement(
        "batches of SR-FCN's test",
        "",
        "",
        "556 batches of 2",
        f"{_SR_SOLVER}:2",
        "1,112 of the 1,218 patches that the script makes from Set5 are tested",
        why="nothing is learned from it; `--test-iter` changes it",
    ),
    Disagreement(
        "parameters",
        "“all models to have the same amount of parameters”",
        "4.1",
        "the same net for all rows; Non-Joint learns 1,920,601 of its 2,946,649",
        "experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt:33-206",
        "with separate_regressor, Non-Joint differs from the other rows by at most 0.2 %: on the paper's side, 33 "
        "hidden units and 1,336,196 parameters against 1,333,401",
        why="the nets fulfil the paper's claim (tested)",
    ),
)
