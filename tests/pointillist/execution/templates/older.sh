{# As people have written templates for signac-flow: blocks, variables and filters of the older kind. #}
{% extends "slurm.sh" %}
{% block header %}
{{ super() }}
{% set gpus = operations|map(attribute='directives.ngpu')|sum %}
{% if gpus %}
#SBATCH --partition=gpu
#SBATCH --gres=gpu:{{ gpus }}
{% else %}
#SBATCH --partition=cpu
{% endif %}
{% set cpus = operations|map(attribute='directives.cpus-per-task')|list %}
#SBATCH --cpus-per-task={{ cpus|identical }}
{% if operations|calc_memory(parallel) %}
#SBATCH --mem={{ operations|calc_memory(parallel)|format_memory }}
{% endif %}
{% if operations|calc_walltime(parallel) is not none %}
#SBATCH --time={{ operations|calc_walltime(parallel)|format_timedelta }}
{% endif %}
{% endblock header %}
{% block tasks %}
#SBATCH --ntasks={{ operations|calc_tasks('np', parallel, force) }}
#SBATCH --nodes={{ np_global|calc_num_nodes(24) }}
{% endblock tasks %}
{% block custom_content %}
module load anaconda3
{% if operations|length > 9 %}
{% raise "more than nine" %}
{% endif %}
{% endblock custom_content %}
{% block body %}
{% for operation in operations|with_np_offset %}
# offset {{ operation.directives.np_offset }} of {{ operation.name }} ({{ operation.id }})
{{ operation.cmd }}{{ " &" if parallel else "" }}
{% endfor %}
{% endblock body %}
