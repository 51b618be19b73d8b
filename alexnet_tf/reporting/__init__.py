"""A run's report: figures, tables and the model card, on one page that needs nothing from elsewhere."""
