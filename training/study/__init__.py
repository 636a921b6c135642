"""Many runs as one file: what is compared, with which seeds, measured where; resumable."""
