"""Text -> Settings: reading configuration files, the command line and the environment, exactly as uWSGI orders them.

Nothing here prints, exits, or looks at more of the machine than the files it is told to read; what placeholders may ask
about the machine comes in as `Surroundings`. Every problem is a `Finding`.
"""
