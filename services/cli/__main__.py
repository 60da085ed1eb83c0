"""`python -m services.cli`: the command line where no `konzilium` is on the path."""

from services.cli.main import main

main(prog_name="konzilium")
