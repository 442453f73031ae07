"""The command line. Importing it imports no verb, and no torch."""

from ganvae_core.cli.main import main as main
