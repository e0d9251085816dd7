{"uwsgi": {"processes": 2, "env": ["A=1", "B=2"], "master": true, "vacuum": false, "base": "/srv/\u00e9", "chdir": "%(base)",
  "processes": 3, "nested": {"a": 1}, "list": [[1], 2]}}
