"""What happens: running tasks on this machine and handing them to a scheduler."""
