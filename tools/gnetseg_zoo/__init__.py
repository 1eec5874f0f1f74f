"""The workshop of gnetsegd: networks, data sets, training, export and evaluation.

Each module in this folder that has a ``main`` is a command, ``python -m gnetseg_zoo.NAME``:

============== ==================================================================
describe       a network by layer, its cost, and whether the chip computes it
train          train a configuration of ``configs/``
export         a trained network as a bundle: full-integer TFLite, checked, scored
model_card     the page of a bundle in ``docs/models``
evaluate       score a bundle on photos
compare        bundles beside each other, integers beside floats
contact_sheet  photos with their masks, the worst first
flicker        how much a mask flickers on a clip
peer           MediaPipe selfie segmentation, scored alike; masks of a teacher
class_order    the order of class numbers that suits the integer encoding best
tables         the paper's tables 1 and 2 beside this project's networks
============== ==================================================================

The daemon imports nothing from here. Modules that need PyTorch or TensorFlow say
so by their name or their docstring; everything else runs with numpy, Pillow and a
TFLite runtime.
"""
