"""Public data sets in the folder layouts that they are published in.

Person masks come as :class:`gnetseg_zoo.datasets.samples.Sample` (Matting Human, and
``index.csv`` for everything else), driving scenes as
:class:`gnetseg_zoo.datasets.labels.LabelledPhoto` (Cityscapes, CamVid).
"""
