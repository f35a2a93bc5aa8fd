"""Rules and data that are made to break an engine: each ends in a rule error or a value, soon and in little memory."""
