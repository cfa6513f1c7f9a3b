"""What the generated code costs, beside published and measured figures of others. Run from the repository's root."""
