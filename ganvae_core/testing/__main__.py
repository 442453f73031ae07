"""``python -m ganvae_core.testing``: the process that ``ganvae plugins check`` starts."""

from ganvae_core.testing.running import main

main()
