"""robostack: a few demonstrations and corrections become a policy that does the task alone."""

__version__ = "0.1.0"
