{"uwsgi": {"chdir": "\ud800"}}
