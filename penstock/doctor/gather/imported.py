"""What runs in the surroundings of an application once that is imported there: only the sign that it was."""

print("imported by penstock doctor")
