"""`python -m service` is `entri`."""

from service.cli import main

main()
