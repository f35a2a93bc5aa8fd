"""The leak hunt: secrets go through a real project in every way there is, and then everything it left is searched."""
