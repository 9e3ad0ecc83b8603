"""Training: data sets, fine-tuning, evaluation, export, and the bundled model from nothing."""
