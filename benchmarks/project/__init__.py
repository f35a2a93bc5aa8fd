"""The Django project whose jobs and workflows are measured, and the settings of the peers that need one."""
