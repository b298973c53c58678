"""What everything else rests on: errors of users, output, threads, and checkpoint files."""
