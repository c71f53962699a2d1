"""`python -m holdfast`: the command, also from a plain checkout."""

from holdfast.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
