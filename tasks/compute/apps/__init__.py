"""Apps: models, trainings, strategies and scoring methods written in Python, run where bundles are."""
