"""What a project is: found by reading its files, and asked of its own interpreter; never imported in this process."""
