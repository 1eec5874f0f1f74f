"""Training: pictures, losses, checkpoints. ``gnetseg_zoo.train`` is the command."""
