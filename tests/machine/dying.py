"""Programs that are killed at a chosen moment."""

DIE_AT = '''
import os, signal

def die_at(step, *names):
    """Have this process killed instead of that call, counted from one, of these functions of `os`."""
    left = [step]

    def deadly(function):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call

    for name in names:
        setattr(os, name, deadly(getattr(os, name)))
'''
"""The head of such a program."""
