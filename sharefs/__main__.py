"""What does `python -m sharefs` do? The same as `sharefs`."""

from sharefs.cli import main

if __name__ == "__main__":
    main()
