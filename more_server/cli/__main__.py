"""`python -m more_server.cli`."""

from more_server.cli import main

main()
