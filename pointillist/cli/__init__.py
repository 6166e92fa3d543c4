"""The command line: one module a command, each taking a project as an argument."""
