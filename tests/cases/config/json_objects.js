{
  "uwsgi": [
    { "socket": "/tmp/a.sock", "for": "a b", "env": "%(_)=1", "endfor": "" },
    { "if-not-env": "NOBODY", "processes": 3 },
    { "endif": "", "json": ":more" }
  ],
  "more": [
    { "env": ["C=1", "D=1"] }
  ]
}
