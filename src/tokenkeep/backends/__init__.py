"""One file per place that keeps secrets; they never import each other."""
