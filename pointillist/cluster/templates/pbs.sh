{# The lines come from the adapter of PBS or TORQUE, whichever the environment has. #}
{% extends "scheduler.sh" %}
