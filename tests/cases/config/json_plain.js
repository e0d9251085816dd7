{
  "other": {"processes": 9},
  "uwsgi": {
    "processes": 2,
    "master": true,
    "vacuum": false,
    "env": ["A=1", "B=2", true, 7],
    "chdir": "/srv/\u00e9",
    "max-requests": null,
    "harakiri": 30
  }
}
