"""Questions that the second paper leaves open or answers twice."""

from __future__ import annotations

from lq_emotion.studies.questions import Question

OPEN_QUESTIONS = (
    Question(
        "columns of Table 1",
        "neutral has a recall of .65 and sadness of .85",
        "weighted by the classes of the test images, the recalls give .80 to .82 and .67 to .70 as printed under any "
        "rule of voting, but the printed accuracies .86 and .78 with the two columns exchanged",
        answer="both readings",
    ),
    Question(
        "majority of votes",
        "majority vote of ten taggers; without a majority, discarded",
        "more than 5 votes (2,720 test images) gives .861 and .779 with neutral and sadness exchanged",
        ("rule",),
    ),
    Question("classes of FER+", "seven; contempt is not mentioned", "", ("classes",)),
    Question(
        "split of FER+",
        "not given; “36,685” images, where the files have 35,887",
        "disgust's scores fit 5 or 7 of 15 images; the official test set has 7: probably the author's own split",
        ("split",),
    ),
    Question(
        "VGG Face",
        "“the VGG Face dataset [26], which consists of 9,131 images of different people's faces”; [26] is Parkhi et "
        "al., 2015",
        "9,131 is the number of people of VGGFace2 (2018), which has a ResNet-50; Parkhi et al. have 2,622 people and "
        "a VGG-16",
        answer="VGGFace2",
    ),
    Question("sizes of the dense layers", "not given; the LSTM has 1024 outputs", answer="of the preset"),
    Question(
        "rates, epochs, batch, input size, augmentation", "not given", answer="of the preset; mirroring and cropping"
    ),
    Question(
        "space and trials of the Bayesian search",
        "not given; a Gaussian process after Snoek (2012)",
        answer="the rates of both stages and the weight decay, or the preset's without a search",
    ),
    Question("clips of RAVDESS", "24 actors, 2 statements, 8 emotions: speech, song or both", "", ("channels",)),
    Question(
        "split of RAVDESS",
        "not given",
        "clips of an actor, or both files of a take, on two sides of a split would raise accuracies",
        ("folds", "fold"),
    ),
    Question(
        "30 frames of a clip",
        "30 frames; shorter clips repeat frames; which ones is not given",
        "(c) is worst at 720p and 30 fps: 30 successive frames are 1 s there, and 2 s at 15 fps",
        ("window",),
    ),
    Question(
        "short clips",
        "“if the video was shorter than 40 frames I repeat frames until we get 30”",
        "a clip of 30 to 39 frames needs no repetition",
        answer="clips shorter than 30 frames repeat theirs",
    ),
    Question(
        "classes of the clips",
        "“a 7-class video dataset” in section 1; “a 8-class problem” in the abstract, “the 8-class RAVDESS emotional "
        "video dataset” in section 4.2",
        "section 3.1 lists eight; the sentence of section 1 was not finished: “an accuracy of X on”",
        answer="eight",
    ),
    Question("margin of a face", "the box of a Haar cascade, cropped; no margin is given", "", ("grow",)),
    Question(
        "middle size", "640 x 360 in the tables, once 480 x 360 in section 3.3", answer="640 x 360, as in the tables"
    ),
    Question(
        "calm",
        "mean and mode take the classes of the net of images",
        "a net of FER+ has no calm: mean and mode reach at most .867 on speech",
        answer="calm clips count as errors of mean and mode",
    ),
    Question(
        "form of the LSTM",
        "1024 outputs and two dense layers",
        "over 2,048 features, 12,587,008 values with one bias, 12,591,104 with two",
        answer="Caffe's, with one bias",
    ),
    Question(
        "CNN of the CNN-LSTM",
        "“a LSTM network, appended to the output of the ResNet, to form a CNN-LSTM architecture”, trained by Adam; not "
        "whether the ResNet learns, too",
        answer="only the LSTM and its dense layers learn, from features computed once",
    ),
    Question(
        "best and lowest accuracy",
        "“81% accuracy on high resolution video, and maintain a minimum 67% accuracy across a range of resolutions”",
        "in table (c) the lowest, .67, is of 720p at 30 fps, the best quality; .81 is of 720p and of 144p, both at 15 "
        "fps",
        answer="all cells, compared with the paper's",
    ),
    Question("table (b)", "the accuracies of the mode are not printed", answer="measured here alone"),
    Question("bit rate and latency", "not given", answer="measured by `lq-emotion link`"),
)
