"""Rules of ours beside those of json-logic-js, the original: random cases, the same ones by the same seed."""
