{
  "uwsgi": {
    "processes": 2,
  }
}
