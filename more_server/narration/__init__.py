"""Long speech: what is to be read, how it is split, spoken and put together."""
