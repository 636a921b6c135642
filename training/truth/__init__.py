"""Small worlds whose truth is known: what the methods can and cannot recover."""
