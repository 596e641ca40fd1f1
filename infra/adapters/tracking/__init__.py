"""MLflow's client."""
