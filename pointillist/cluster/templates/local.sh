{# The queue of one machine reads its lines as a scheduler does. #}
{% extends "scheduler.sh" %}
