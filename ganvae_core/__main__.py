"""``python -m ganvae_core``: the same as ``ganvae``."""

import os
import sys

if __name__ == "__main__":
    # Python looks for modules in the current folder first, which may be a run that somebody else made.
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]

    from ganvae_core.cli import main

    sys.exit(main())
