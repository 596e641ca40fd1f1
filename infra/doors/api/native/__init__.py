"""What neither dialect has: status, rounds, model versions, bundles, keys, under `/api/teachback/v1`."""
