"""``ganvae explore``: the latent space of a run in a browser, as one file or from a small server."""
