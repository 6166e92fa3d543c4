{# The frame of every script. Templates of schedulers and clusters extend it and change its blocks:

   header           what the scheduler reads; scheduler.sh, which slurm.sh, pbs.sh and lsf.sh extend, divides it into
                    preamble, tasks and memory
   project_header   where the work is done, and in an array which element this is; keep it, with super()
   custom_content   free for modules and variables: nothing else uses it
   body             the work, with pre_operation before each line
   footer           waits for lines that run at the same time, and ends with what went wrong, if anything did
#}
{% block header %}
#!/bin/bash
{% endblock header %}
{% block project_header %}

set -e
set -u

cd {{ project.path|quote_argument }}
export {{ submission_variable }}={{ id|quote_argument }}
{% for line in element_lines + own_lines %}
{{ line }}
{% endfor %}
status=0
pids=()
{% if request.signal_before_s %}
{% include "time_is_short.sh" %}
{% endif %}
{% endblock project_header %}
{% block custom_content %}
{% endblock custom_content %}
{% block body %}
{% for operation in operations %}

# {{ operation }}
{% block pre_operation scoped %}
{% endblock pre_operation %}
{% if parallel %}
{{ operation.cmd }} &
pids+=("$!")
{% elif request.signal_before_s %}
{% if loop.first %}
{{ operation.cmd }} &
pids=("$!")
follow "$!"
{% else %}
if [ "$warned" = 0 ]; then
    {{ operation.cmd }} &
    pids=("$!")
    follow "$!"
else
    again=1
fi
{% endif %}
{% else %}
{{ operation.cmd }} || status=$?
{% endif %}
{% endfor %}
{% endblock body %}
{% block footer %}

{% if parallel and request.signal_before_s %}
for pid in "${pids[@]}"; do
    follow "$pid"
done
{% elif parallel %}
for pid in ${pids[@]+"${pids[@]}"} $(jobs -p); do
    wait "$pid" || status=$?
done
wait
{% endif %}
{% if request.signal_before_s %}
if [ "$again" != 0 ]; then
{% if request.requeue and requeue_command %}
    # The scheduler puts this very job back; should it not answer, the next submit goes on.
    for pause in 1 5 0; do
        {{ requeue_command }} && break
        sleep "$pause"
    done
{% endif %}
    exit {{ exit_again }}
fi
{% endif %}
exit "${status:-0}"
{% endblock footer %}
