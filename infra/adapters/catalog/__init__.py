"""What is true: tables, transactions and questions by noun."""
