"""An ament_python package: colcon build --packages-select gnetseg_ros."""

from setuptools import setup

NAME = "gnetseg_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/segmentation.launch.py"]),
        (f"share/{NAME}/config", ["config/segmentation.yaml"]),
    ],
    install_requires=["setuptools", "gnetsegd"],
    license="Apache-2.0",
    description="Person masks of gnetsegd as nav2's semantic segmentation layer wants them",
    entry_points={"console_scripts": [f"segmentation = {NAME}.node:main"]},
)
