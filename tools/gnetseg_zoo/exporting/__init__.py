"""From a checkpoint to a TFLite file. ``gnetseg_zoo.export`` is the command."""
