"""One module of data per language, and the registry that finds them."""
