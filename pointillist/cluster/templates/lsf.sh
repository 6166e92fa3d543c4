{# LSF reads the script from its standard input. #}
{% extends "scheduler.sh" %}
