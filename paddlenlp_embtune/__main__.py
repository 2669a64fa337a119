"""``python -m paddlenlp_embtune`` is ``embtune``."""

from paddlenlp_embtune.cli.main import main

main()
