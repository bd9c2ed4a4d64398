"""``python -m nestling``: what torchrun starts."""

from nestling.cli import main

if __name__ == "__main__":
    main()
