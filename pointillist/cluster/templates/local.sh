{# The queue of one machine reads its lines as a scheduler does. #}
{% extends "base_script.sh" %}
{% block header %}
{% block preamble %}
#!/bin/bash
{% for line in request_lines.preamble %}
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
