{# What the scripts of all schedulers have in common: the lines of the request come from the adapter. #}
{% extends "base_script.sh" %}
{% block header %}
{% block preamble %}
#!/bin/bash
{% for line in request_lines.preamble + partition_lines(partition) %}
{{ line }}
{% endfor %}
{% endblock preamble %}
{% block tasks %}
{% for line in request_lines.tasks %}
{{ line }}
{% endfor %}
{% endblock tasks %}
{% block memory %}
{% for line in request_lines.memory %}
{{ line }}
{% endfor %}
{% endblock memory %}
{% endblock header %}
