"""What certificates say beyond the margin: detection, index sets, pictures of polytopes."""
