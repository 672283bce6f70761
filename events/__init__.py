"""The log and its rules: what happened and who may say so. Must never import `projections` or `service`."""
