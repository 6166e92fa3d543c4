{# The template of every script unless --template names another. A project that has a script.sh in its own folder
   templates/ changes all its scripts there; it extends base_script, which stands for the environment's template. #}
{% extends base_script %}
