"""ROS 2: the wire to a cell and the nodes on it. environment, launch_file and processes need no rclpy."""
