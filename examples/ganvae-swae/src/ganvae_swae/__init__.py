"""The sliced-Wasserstein autoencoder (Kolouri et al. 2018) for ganvae."""
