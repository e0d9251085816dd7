"""The master: it binds, starts generations, watches workers and carries out what a person asks for."""
