"""Steps, each named by the number of the schema it leads to."""
