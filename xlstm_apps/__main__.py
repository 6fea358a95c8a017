"""`python -m xlstm_apps` is the command `xlstm-apps`."""

from xlstm_apps.cli import main

main()
