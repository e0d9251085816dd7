"""The app of cases.py inside wsgiref.validate: what breaks PEP 3333, on either side, raises AssertionError."""

import os
import sys
from wsgiref.validate import validator

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cases import application as inner

application = validator(inner)
