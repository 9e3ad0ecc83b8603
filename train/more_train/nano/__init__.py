"""The recipe `nano`: from nothing to a speaking model."""
