"""What leaves the repository: weights as MONAI's tools read them, and the bundle as one file."""
