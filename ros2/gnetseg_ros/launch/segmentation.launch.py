"""ros2 launch gnetseg_ros segmentation.launch.py [params:=FILE]"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    usual = Path(get_package_share_directory("gnetseg_ros")) / "config" / "segmentation.yaml"
    return LaunchDescription(
        [
            DeclareLaunchArgument("params", default_value=str(usual)),
            Node(
                package="gnetseg_ros",
                executable="segmentation",
                name="gnetseg",
                parameters=[LaunchConfiguration("params")],
                output="screen",
            ),
        ]
    )
