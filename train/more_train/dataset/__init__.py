"""Datasets: recordings in, clips with their texts out, checked and told about."""
