"""Any rule and any data: a value, or an error about the rule, and nothing else."""
