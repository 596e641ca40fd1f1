"""Keys, encryption, egress policy and redaction."""
