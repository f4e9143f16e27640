"""One file for each change of the tables. They are never edited once released."""
