"""`python -m polybatch show`, where the package is not installed and so has no script."""

from polybatch.cli import script

if __name__ == "__main__":
    script()
