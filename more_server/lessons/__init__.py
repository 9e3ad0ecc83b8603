"""Training through the API: uploads, datasets, and the processes that make them and teach from them."""
