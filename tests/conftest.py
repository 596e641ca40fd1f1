"""Fixtures that every folder of tests may ask for; each topic's are in a module of their own."""

pytest_plugins = [
    "tests.division",
    "tests.fixtures_catalog",
    "tests.fixtures_installation",
    "tests.fixtures_orthanc",
    "tests.fixtures_mlflow",
    "tests.fixtures_objects",
    "tests.fixtures_parts",
    "tests.fixtures_postgres",
    "tests.fixtures_prefect",
    "tests.fixtures_warm",
]
