"""What can be randomised: the catalogue of factors, and what each does to signals and physics."""
