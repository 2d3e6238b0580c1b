"""``python -m noisycorrect``: the command of the same name."""

import sys

from noisycorrect.cli import main

if __name__ == "__main__":
    sys.exit(main())
