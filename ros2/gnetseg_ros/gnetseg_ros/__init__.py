"""gnetsegd in ROS 2: ``conversions`` needs no ROS, ``node`` does."""
