"""What there is to say about a configuration before it is started, as values: nothing is printed here."""
