"""`python -m relayd` is `relayd`."""

import sys

from relayd.cli.program import main

if __name__ == "__main__":
    sys.exit(main(name="relayd"))
