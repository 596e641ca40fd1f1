"""The MONAI Cloud API dialect, under `/api/v1/orgs/{org}` and `/api/v1/users/{user_id}`."""
