"""What is made of records: tables, figures, and the costs of networks."""
