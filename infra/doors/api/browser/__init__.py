"""Pages for people: logging in, and Prefect's and MLflow's pages behind that login."""
