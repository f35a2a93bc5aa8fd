"""An app whose workflow leaves a trace of every step, and dies where it is told to."""
