"""Scripts that a person launches, and what they share: provenance and the report of a run."""
