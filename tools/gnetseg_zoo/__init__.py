"""The workshop of gnetsegd: networks, data sets, training, export and evaluation.

The daemon imports nothing from here. Modules that need PyTorch or TensorFlow say
so by their name or their docstring; everything else runs with numpy, Pillow and a
TFLite runtime.
"""
