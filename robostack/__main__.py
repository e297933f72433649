"""`python -m robostack`: the command line straight from a checkout."""

from robostack.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
