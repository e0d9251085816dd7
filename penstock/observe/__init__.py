"""What an instance tells about itself: the scoreboard's reader, the statistics document and its socket."""
