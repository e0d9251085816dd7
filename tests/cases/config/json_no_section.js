{"app": {"processes": 2}}
