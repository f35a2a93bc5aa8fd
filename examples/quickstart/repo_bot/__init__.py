"""What the project does of its own: it keeps the deliveries that GitHub sends."""
