"""Images in S3, Azure Blob, Google Cloud Storage and behind plain https, named by a manifest."""
