"""Other libraries trained on the same encoded rows; they come with the extra `peers`."""
