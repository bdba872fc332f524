"""What a distilled set gives away: membership attacks on shadow runs, and nearest neighbours of its images."""
