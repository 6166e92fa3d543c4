{# Scripts for Phoenix. CHANGE HERE: modules, the conda environment, whatever the nodes need before the work starts. #}
{% extends "slurm.sh" %}
{% block preamble %}
{{ super() }}
{% set account = account or project|get_account_name %}
{% if account %}
#SBATCH --account={{ account|quote_argument }}
{% endif %}
#SBATCH --qos={{ (qos or "inferno")|quote_argument }}
{% endblock preamble %}
{% block custom_content %}

{% if resources.ngpu_tasks %}
module load cuda
{% endif %}
module load anaconda3
# The scripts of conda read variables that nobody has set.
set +u
eval "$(conda shell.bash hook)"
conda activate {{ (conda or "plmnist")|quote_argument }}
set -u
{% endblock custom_content %}
