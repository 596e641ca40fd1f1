"""What keeps an installation running: status, records, webhooks, backups, keys of the vault."""
