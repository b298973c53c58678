"""The runs that are compared: teachers, students, methods, and the option file of each run."""
