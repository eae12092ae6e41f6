"""What another package can add to Gradus; see docs/extending.md."""
