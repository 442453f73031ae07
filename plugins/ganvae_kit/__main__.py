"""``python -m ganvae_kit``: the process that ``ganvae plugins check`` starts."""

from ganvae_kit.running import main

main()
