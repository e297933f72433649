"""Datasets of other projects, in and out: LeRobotDataset v3, and demonstrations of HIL-SERL."""
