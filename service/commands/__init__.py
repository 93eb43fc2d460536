"""The subcommands of `hallwatch`, one module for each group."""
