"""Export: compiled programs for places where chainrule is not installed."""
