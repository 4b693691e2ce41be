"""`python -m train`: make a dataset, train on it, export what came of it."""

from train.cli import main

if __name__ == "__main__":
    main(prog_name="python -m train", auto_envvar_prefix="ANIMEGEN_TRAIN")
