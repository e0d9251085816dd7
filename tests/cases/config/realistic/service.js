{
    "uwsgi": {
        "http": "0.0.0.0:8000",
        "chdir": "/srv/service",
        "module": "service.wsgi",
        "master": true,
        "processes": 4,
        "threads": 2,
        "harakiri": 60,
        "env": ["A=1", "B=2"]
    }
}
