"""One function per use case: authorise, one transaction, wake the dispatcher."""
