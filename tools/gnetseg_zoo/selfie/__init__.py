"""Networks for persons begun from MediaPipe's selfie segmentation (Apache-2.0).

``graph``: the network as a list of plain operators. ``torch_model``: to train it.
``keras_model``: to export it. ``photos``: which photos may teach it. ``teach``: soft masks
of the network itself. ``pictures``: random training pictures. ``train`` and ``export``:
the commands.
"""
