"""One folder per robot: facts with units and sources (`ROBOT`) and its own MJCF (robot.xml)."""
