{# The lines come from the adapter of PBS or TORQUE, whichever the environment has. #}
{% extends "scheduler.sh" %}
{% block preamble %}
{{ super() }}
{%- if not no_copy_env %}
#PBS -V
{% endif %}
{% endblock preamble %}
