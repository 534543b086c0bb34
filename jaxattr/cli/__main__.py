"""`python -m jaxattr.cli`: the command line where its script is not on the path."""

import sys

from _jaxattr_command import main

if __name__ == "__main__":
    sys.exit(main())
