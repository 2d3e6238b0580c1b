"""``python -m noisycorrect.cli``."""

import sys

from noisycorrect.cli import main

if __name__ == "__main__":
    sys.exit(main())
