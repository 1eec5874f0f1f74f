"""How good masks are, whoever computed them. ``gnetseg_zoo.evaluate`` is the command."""
