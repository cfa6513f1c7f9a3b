"""What a run found: the results file, the page made from it, and the block printed at the end of a command."""
