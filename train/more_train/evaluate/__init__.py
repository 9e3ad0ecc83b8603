"""How well a model speaks: held-out sentences said through the server's own path, measured, and told in words."""
