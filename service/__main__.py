"""`python -m service`: the command `finerank` where nothing is installed as a package."""

from service.cli import main

main()
