"""``python -m service`` is the ``vacpack`` command."""

from service.cli import main

if __name__ == "__main__":
    main()
