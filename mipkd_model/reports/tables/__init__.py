"""The paper's tables, from records and from what others have published."""
