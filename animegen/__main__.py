"""`python -m animegen`: the command where its script is not on the path."""

from animegen.cli import main

if __name__ == "__main__":
    main(prog_name="animegen")
