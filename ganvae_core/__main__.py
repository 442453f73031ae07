"""``python -m ganvae_core``: the same as ``ganvae``."""

import sys

from ganvae_core.cli import main

sys.exit(main())
