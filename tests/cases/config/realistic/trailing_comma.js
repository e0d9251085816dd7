{
    "uwsgi": {
        "http": ":8000",
        "module": "app",
        "processes": 2,
    }
}
