"""`python -m rivet` is the command `rivet`."""

from rivet.cli import main

if __name__ == "__main__":
    main()
