{% extends "scheduler.sh" %}
